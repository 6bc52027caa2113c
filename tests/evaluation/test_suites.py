import pytest

from rsr_tf.evaluation import SUITES
from rsr_tf.evaluation.suites import claim_attacks, frozen_plan, further_plan, plan, stored_name, twin_plan


def names(steps, **wanted):
    return [step.name for step in steps if all(getattr(step, key) == value for key, value in wanted.items())]


@pytest.mark.parametrize("suite", SUITES)
def test_claim_attacks_run_with_and_without_noise_on_robust_images(suite):
    steps = plan(SUITES[suite], epsilon=0.1, random={"noise_on": True, "noise_off": False})
    for source in ("noise_on", "noise_off"):
        claims = names(steps, source=source, subset="still_robust")
        assert claims == list(claim_attacks(SUITES[suite], epsilon=0.1, random=True))
        assert {"APGD-CE", "APGD-DLR"} <= set(claims)
        assert ("Square" in claims) == (suite != "standard-random")
        assert {"FGSM", "short PGD"} <= set(names(steps, source=source, subset="checks"))
    assert steps[0].name == "clean"
    subsets = [step.subset for step in steps]
    assert subsets == sorted(subsets, key=["all", "checks", "still_robust"].index)


@pytest.mark.parametrize("suite", SUITES)
def test_every_step_has_a_unique_name_and_source(suite):
    steps = plan(SUITES[suite], epsilon=0.3, random={"noise_on": True, "noise_off": False})
    assert len({(step.name, step.source) for step in steps}) == len(steps)


def test_twins_are_attacked_by_the_gradients_of_the_claim_on_robust_images():
    steps = twin_plan(SUITES["full"], epsilon=0.1, random=False, twins=("float", "wide"))
    by_gradients = ["PGD-20", "APGD-CE", "APGD-DLR", "PGD-100, 5 restarts, CE", "PGD-100, 5 restarts, DLR"]
    assert [(step.source, step.name) for step in steps] == [
        *(("float", name) for name in by_gradients),
        *(("wide", name) for name in by_gradients),
    ]
    assert {step.subset for step in steps} == {"still_robust"}
    assert {step.attack.get_config()["eot_samples"] for step in steps} == {1}
    (first, *_) = twin_plan(SUITES["full"], epsilon=0.1, random=True, twins=("float",))
    assert first.attack.get_config()["eot_samples"] == 20


def test_standard_attacks_have_100_iterations_and_20_draws():
    attacks = claim_attacks(SUITES["standard-random"], epsilon=8 / 255, random=True)
    assert list(attacks) == ["APGD-CE", "APGD-DLR"]
    for name in attacks:
        config = attacks[name].get_config()
        assert (config["steps"], config["eot_samples"]) == (100, 20)
        assert attacks[name].cost() == (2020, 0)
    square = claim_attacks(SUITES["full"], epsilon=8 / 255, random=True)["Square"].get_config()
    assert (square["queries"], square["eot_samples"]) == (5000, 8)


@pytest.mark.parametrize("suite", SUITES.values(), ids=SUITES)
def test_ensemble_of_one_draw_is_attacked_as_a_network(suite):
    assert suite.for_ensemble(1) == suite


def test_ensemble_is_attacked_by_gradients_of_20_draws_and_as_many_scores_in_fewer_calls():
    attacks = claim_attacks(SUITES["paper"].for_ensemble(10), epsilon=0.1, random=True)
    calls = {name: attack.get_config()["eot_samples"] for name, attack in attacks.items()}
    assert calls == {"PGD-20": 2, "APGD-CE": 2, "APGD-DLR": 2, "Square": 1}
    assert SUITES["paper"].for_ensemble(6).eot_samples == 4  # 24 draws, not 18
    assert SUITES["paper"].for_ensemble(10).queries == SUITES["paper"].queries
    quick = SUITES["quick"].for_ensemble(3)
    assert (quick.eot_samples, quick.check_samples, quick.query_samples) == (4, 4, 1)  # not 7, as the suite is short


def test_network_without_noise_is_attacked_with_one_draw():
    for attack in claim_attacks(SUITES["full"], epsilon=8 / 255, random=False).values():
        assert attack.get_config().get("eot_samples", 1) == 1


def test_identifiers_of_steps_are_those_of_stored_states():
    """A changed value would make stored states unreadable and change the seeds of the attacks."""
    steps = plan(SUITES["full"], epsilon=8 / 255, random={"noise_on": True, "noise_off": False})
    assert [f"{step.name}, {stored_name(step.source)}, {step.subset}" for step in steps] == [
        "clean, network, all",
        "PGD-7, as in the paper, network, all",
        "PGD-7, as in the paper, stripped, all",
        *(f"{name}, {source}, checks" for source in ("network", "stripped") for name in ("FGSM", "short PGD")),
        "random noise, network, checks",
        "short Square, network, checks",
        "PGD, one draw, network, checks",
        "PGD, one draw, few steps, network, checks",
        "PGD, one draw, restarts, network, checks",
        *(f"PGD, one draw, epsilon {radius}/255, network, checks" for radius in (2, 4, 16, 32, 64, 127.5)),
        "PGD, one draw, rescaled, checks",
        *(
            f"{name}, {source}, still_robust"
            for source in ("network", "stripped")
            for name in (
                "PGD-20",
                "APGD-CE",
                "APGD-DLR",
                "PGD-100, 5 restarts, CE",
                "PGD-100, 5 restarts, DLR",
                "Square",
            )
        ),
    ]


def test_further_attacks_see_neither_gradients_nor_scores_of_the_network():
    transfer, decisions = further_plan(SUITES["quick"], epsilon=0.1, random=True)
    assert (transfer.source, transfer.subset) == ("substitute", "still_robust")
    assert (decisions.name, decisions.source, decisions.attack.uses_gradients) == ("HopSkipJump", "noise_on", False)
    assert decisions.attack.eot_samples == 4
    assert further_plan(SUITES["quick"], epsilon=0.1, random=False)[1].attack.eot_samples == 1


def test_known_draw_is_attacked_as_a_network_without_noise():
    first, *others = frozen_plan(SUITES["quick"], epsilon=0.1)
    assert (first.name, first.subset) == ("clean", "all")
    assert [step.name for step in others] == list(claim_attacks(SUITES["quick"], epsilon=0.1, random=False))
    assert {step.attack.get_config()["eot_samples"] for step in others} == {1}
