"""The page of a verdict, made by the evaluation's own functions from hand-made numbers."""

from helpers import EPSILON, case, check, noisy_verdict, plain_verdict

from rsr_tf.evaluation.scores import wilson_interval
from rsr_tf.report.verdict_page import (
    attack_table,
    claim_sentences,
    facts,
    settings,
    strongest_first,
    summary,
    verdict_view,
)


def text(sentences):
    return " ".join(sentences).replace("\N{NO-BREAK SPACE}", " ")


def test_claim_says_what_epsilon_means_and_how_many_images_stay_correct():
    said = text(claim_sentences(noisy_verdict()))
    assert "change each pixel by up to 8 of 255 grey levels (epsilon = 8/255)" in said
    assert "With noise off, the network classifies 80 of 200 test images correctly, under every attack" in said
    assert "was tried: 40.0 %. Without an attack the accuracy is 80.0 %. 60.0 % of its weights are zero." in said
    low, high = (f"{100 * bound:.1f} %" for bound in wilson_interval(0.4, 200))
    assert f"The 95 % confidence interval, for other images of the same kind, is {low} to {high};" in said
    assert said.endswith("This is the quick suite: shortened attacks for a first estimate.")


def test_claim_by_majority_of_a_random_network_names_its_predictions():
    said = text(claim_sentences(noisy_verdict(noisy=(0.3, 0.35))))
    assert "With noise on, the network classifies 60 of 200 test images correctly, each by a majority of 20" in said
    assert "tried: 30.0 %. Without an attack the accuracy is 90.0 %." in said


def test_claim_by_single_predictions_is_their_mean():
    said = text(claim_sentences(noisy_verdict(noisy=(0.3, 0.25), suite="paper")))
    assert "With noise on, the network is shown the worst version of each of 200 test images" in said
    assert "and 25.0 % of its predictions are correct (20 predictions for each image)." in said
    assert "Without an attack the accuracy is 81.0 %." in said
    assert "shortened" not in said


def test_claim_of_a_network_without_noise_speaks_of_none():
    said = text(claim_sentences(plain_verdict(sparsity=None)))
    assert "51 of 255 grey levels" in said
    assert "The network classifies 60 of 200 test images correctly, under every attack that was tried: 30.0 %." in said
    assert not any(word in said for word in ("noise", "predictions", "weights"))


def test_verdicts_are_sorted_by_network_then_suite_then_images():
    def of(network, suite, num_images=200):
        return {"network": network, "parameters": {"suite": suite, "num_images": num_images}}

    best = [
        *(of("pruned", "full"), of("pruned", "paper", 400), of("pruned", "paper")),
        *(of("pruned", "standard-random"), of("pruned", "quick")),
        *(of("trained", "full"), of("undefended", "full"), of("exported", "full")),
    ]
    assert strongest_first(reversed(best)) == best


def test_table_has_one_row_for_each_attack_and_source():
    rows = attack_table(noisy_verdict())
    assert [(row["attack"], row["crafted_on"]) for row in rows] == [
        *(("clean", "noise on"), ("PGD, short", "noise on"), ("PGD, single draw", "rescaled logits")),
        *(("PGD, single draw, epsilon 16/255", "noise on"), ("APGD-CE", "noise on"), ("APGD-CE", "noise off")),
    ]
    assert [score["accuracy"] for score in rows[1]["scores"]] == [0.6, 0.7]
    assert rows[1]["distance"] == "8/255"


def test_settings_of_an_attack_are_words():
    loss = {"module": "builtins", "class_name": "function", "config": "rsr_tf>cross_entropy"}
    parameters = {"attack": "PGD", "step_size": 2 / 255, "steps": 7, "random_start": True, "rescore": False}
    assert settings({**parameters, "loss_fn": loss}) == (
        "attack PGD, step size 2/255, steps 7, random start yes, rescore no, loss cross entropy"
    )


def test_kinds_of_attacks_are_named_and_described_on_the_page():
    view = verdict_view(noisy_verdict())
    assert view["kinds"] == [
        ["NoAttack", "What NoAttack does."],
        ["EOTPGD", "What EOTPGD does."],
        ["APGD", "What APGD does."],
    ]


def test_facts_name_data_seed_seconds_of_each_attack_once_and_versions():
    found = dict(facts(noisy_verdict()))
    assert found["data"] == "toys"
    assert found["suite"] == "quick, 6 attacks, 12 s"
    assert found["test images"] == "200, drawn with seed 7"
    assert found["noise"].startswith("noise on: 0.17, noise off: 0; standard deviation of the logits")
    assert found["versions"] == "keras 3.15.1"


def test_networks_are_shown_with_and_without_noise_and_the_claim_is_marked():
    rows = verdict_view(noisy_verdict(noisy=(0.3, 0.25)))["networks"]
    assert [(row["noise"], row["claim"]) for row in rows] == [("noise on", "mean"), ("noise off", None)]
    assert rows[0]["worst_case"]["mean"] == 0.25


def test_summary_is_one_row():
    row = summary(noisy_verdict([check(passed=False)], network="trained"))
    assert (row["network"], row["suite"], row["noise"]) == ("the trained network", "quick", "noise off")
    assert (row["claim"]["accuracy"], row["clean"], row["failed_checks"]) == (0.4, 0.8, 1)


def test_noise_frozen_to_a_known_draw_is_a_row_of_its_own_and_never_the_claim():
    verdict = noisy_verdict()
    verdict["frozen"] = {"clean": case(0.85, 0.85, 1), "worst_case": case(0.1, 0.1, 1), "attacks": [], "seed": 3}
    view = verdict_view(verdict)
    assert [row["noise"] for row in view["networks"]] == [
        *("noise on", "noise off", "noise frozen to a draw that the attacker knows")
    ]
    assert (view["networks"][2]["worst_case"]["accuracy"], view["networks"][2]["claim"]) == (0.1, None)
    assert (view["claim"]["accuracy"], view["frozen"]) == (0.4, True)


def test_verdict_without_the_frozen_noise_is_shown_as_before():
    verdict = noisy_verdict()
    del verdict["frozen"]
    assert [row["noise"] for row in verdict_view(verdict)["networks"]] == ["noise on", "noise off"]


def test_attack_from_a_substitute_is_named_as_such():
    verdict = plain_verdict()
    verdict["attacks"] += [{**verdict["attacks"][-1], "attack": "PGD-20", "crafted_on": "substitute"}]
    assert attack_table(verdict)[-1]["crafted_on"] == "a substitute trained on its answers"
    assert verdict_view(verdict)["transfer"]
    assert not verdict_view(plain_verdict())["transfer"]


def test_attack_from_a_twin_is_named_as_such():
    verdict = plain_verdict()
    verdict["attacks"] += [{**verdict["attacks"][-1], "attack": "APGD-CE", "crafted_on": "float"}]
    assert attack_table(verdict)[-1]["crafted_on"] == "its twin float"
    assert verdict_view(verdict)["transfer"]


def in_l2():
    verdict = noisy_verdict()
    verdict["parameters"] |= {"norm": "l2", "epsilon": 0.5}
    for row in verdict["attacks"]:
        row["parameters"] |= {"epsilon": 0.5, "norm": "l2"}
    for point in verdict["curve"]:
        point["epsilon"] *= 0.5 / EPSILON
    return verdict


def test_verdict_in_l2_says_so_wherever_it_has_a_distance():
    view = verdict_view(in_l2())
    assert "change all pixels together by an l2 distance of up to 0.5" in text(view["sentences"])
    assert "255" not in text(view["sentences"])
    assert dict(view["facts"])["threat model"] == "l2 ball of radius 0.5, true labels"
    assert (view["radius"], view["change"]) == ("0.5 in l2", "largest l2 distance")
    assert "epsilon 0.5, steps 10, norm l2" in view["attacks"][1]["settings"]
    assert not any("/255" in row["distance"] for row in view["attacks"])
    assert ">epsilon, l2<" in view["curve"]
    assert ">claim: 0.5<" in view["curve"]


def test_verdicts_in_linf_come_first():
    names = [verdict["parameters"]["norm"] for verdict in strongest_first([in_l2(), noisy_verdict()])]
    assert names == ["linf", "l2"]
