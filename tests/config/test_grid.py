"""Grids: what a file says becomes a config for each combination of values and each seed."""

import pytest
from helpers import whole_line

from rsr_tf.config import UserError, grid_folder, load_config, load_grid
from rsr_tf.config.grid import merged
from rsr_tf.config.loading import GRIDS, packaged_configs

FILE = """
name = "noises"
title = "Which noise?"
axes = ["network", "noise"]
seeds = [0, 4]
[config]
data.name = "digits"
model.name = "small_cnn"
[axis.network.small]
config = {model.width = 0.5}
[axis.network.large]
label = "large one"
[axis.noise.off]
config = {model = {noise = "none", lasso = 0}}
note = "No noise."
[axis.noise.on]
[reference]
large-on = {trained = {clean = 90.0}}
off = {source = "elsewhere", pruned = {pgd = 10.0}}
"""


@pytest.fixture
def load(tmp_path):
    def write_and_load(text=FILE, *arguments, **others):
        for name, content in {"grid": text, **others}.items():
            (tmp_path / f"{name}.toml").write_text(content)
        return load_grid(tmp_path / "grid.toml", *arguments)

    return write_and_load


def test_every_combination_has_a_config_for_every_seed(load):
    _, cells = load()
    assert [cell.name for cell in cells] == ["small-off", "small-on", "large-off", "large-on"]
    found = [(c.seed, c.model.width, c.model.noise, c.model.lasso) for cell in cells for c in cell.configs.values()]
    assert found[:2] == [(0, 0.5, "none", 0.0), (4, 0.5, "none", 0.0)]
    assert found[-1] == (4, 1.0, "channel", 5e-5)
    assert cells[2].labels == {"network": "large one", "noise": "off"}
    assert [cell.note for cell in cells] == ["No noise.", "", "No noise.", ""]


def test_reference_is_that_of_the_cell_or_of_one_of_its_values(load):
    _, cells = load()
    assert [cell.reference.source for cell in cells] == ["elsewhere", "", "elsewhere", ""]
    assert cells[3].reference.trained == {"clean": 90.0}


def test_values_choose_among_those_of_an_axis(load):
    _, cells = load(FILE + '[values]\nnoise = ["on"]\n')
    assert [cell.name for cell in cells] == ["small-on", "large-on"]


def test_seed_of_all_runs_at_once_is_refused(load):
    """Runs of one seed under the names of several would be a mean without a spread."""
    with pytest.raises(UserError, match=whole_line("--set seed=3: a grid takes `seeds` of its file, one for each run")):
        load(FILE, None, ["training.epochs=2", "seed=3"])
    with pytest.raises(UserError, match="cell small-off: a grid takes `seeds` of its file, one for each run"):
        load(FILE.replace('data.name = "digits"', 'data.name = "digits"\nseed = 3'))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (FILE.replace("seeds = [0, 4]", "seeds = [4, 0, 4]"), r"seeds must differ. Received: \[4, 0, 4\]"),
        (FILE + '[axis.noise."8/255"]\n', "names of values must be names of folders. Received: 8/255"),
        (
            FILE + "[axis.network.a]\n[axis.network.a-b]\n[axis.noise.b-c]\n[axis.noise.c]\n",
            "two cells are called a-b-c",
        ),
        (FILE + '[values]\nnoise = ["on", "on"]\n', "two cells are called large-on"),
    ],
)
def test_runs_that_would_share_a_folder_are_refused(load, text, message):
    with pytest.raises(UserError, match=message):
        load(text)


def test_scale_changes_any_part_of_the_file(load):
    text = (
        FILE + "[scale.tiny]\nseeds = [7]\nconfig.training.epochs = 2\naxis.network.small.config.model.width = 0.25\n"
    )
    grid, cells = load(text, "tiny")
    assert grid.seeds == [7]
    assert cells[0].configs[7].training.epochs == 2
    assert cells[0].configs[7].model.width == 0.25
    assert load(text)[1][0] == load(FILE)[1][0]


def test_file_that_extends_another_has_what_it_does_not_say_itself(load):
    grid, cells = load('extends = "base.toml"\ntitle = "Mine"\nvalues.network = ["small"]\n', base=FILE)
    assert grid.title == "Mine"
    assert [cell.name for cell in cells] == ["small-off", "small-on"]


def test_overrides_change_every_run(load):
    _, cells = load(FILE, None, ["training.epochs=3"])
    assert {config.training.epochs for cell in cells for config in cell.configs.values()} == {3}


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ('axes = ["network", "noise"]', 'axes = ["nothing"]', "axis nothing has no values"),
        ("[reference]", '[values]\nnoise = ["loud"]\n[reference]', "values.noise must be some of off, on"),
        ("[reference]", '[measure]\nzoo = ["small"]\n[reference]', "measure.zoo must name cells such as small-off"),
        ("[reference]", '[measure]\ncolumns = ["speed"]\n[reference]', "`measure.columns.0` should be 'clean'"),
        ('name = "noises"', 'name = "../x"', "`name` String should match pattern"),
        ("model.width = 0.5", "model.breadth = 0.5", "cell small-off: unknown key `model.breadth`"),
        ("seeds = [0, 4]", "seeds = []", "`seeds` List should have at least 1 item"),
        ('title = "Which noise?"', 'titel = "Which?"', "`title` Field required"),
    ],
)
def test_mistake_is_one_line_with_file_and_place(load, tmp_path, old, new, message):
    assert old in FILE
    with pytest.raises(UserError) as error:
        load(FILE.replace(old, new))
    assert str(error.value).startswith(str(tmp_path / "grid.toml"))
    assert message in str(error.value)
    assert "\n" not in str(error.value)


def test_unknown_scale_and_endless_extends_are_refused(load, tmp_path):
    with pytest.raises(UserError, match=whole_line(f"{tmp_path}/grid.toml has no scale big. Expected one of: none")):
        load(FILE, "big")
    with pytest.raises(UserError, match="`extends` must be the path of a file, at most 5 deep"):
        load('extends = "grid.toml"\n')


def test_grid_given_to_a_command_for_one_run_is_named():
    with pytest.raises(UserError, match="is a grid of runs: use `rsr grid`"):
        load_config(GRIDS / "paper" / "table1.toml")


def test_default_folder_is_shared_by_the_grids_of_a_folder():
    assert str(grid_folder("paper/table1", "short")) == "runs/paper/short"
    assert str(grid_folder("mine.toml", None)) == "runs/mine"


def test_merging_leaves_both_alone():
    values, changes = {"a": {"b": 1}, "c": 2}, {"a": {"d": 3}, "c": {"e": 4}}
    assert merged(values, changes) == {"a": {"b": 1, "d": 3}, "c": {"e": 4}}
    assert values == {"a": {"b": 1}, "c": 2}


@pytest.mark.parametrize("name", packaged_configs(GRIDS))
@pytest.mark.parametrize("scale", ["paper", "short", "digits"])
def test_packaged_grids_are_valid_at_every_scale(name, scale):
    grid, cells = load_grid(name, scale)
    assert len({cell.name for cell in cells}) == len(cells)
    if scale == "paper" and name in ("paper/table1", "paper/table2", "paper/table4", "paper/table5"):
        referenced = [cell for cell in cells if cell.reference.trained or cell.reference.pruned]
        assert len(referenced) == {"paper/table1": 12, "paper/table2": 6, "paper/table4": 7, "paper/table5": 2}[name]
        assert len(grid.seeds) == 5


def test_grids_of_the_paper_share_their_runs():
    """The same cell of two tables is the same config, so it is trained once."""
    tables = [load_grid(f"paper/{name}", "short")[1] for name in ("table1", "table3", "table4", "table5", "figures")]
    for cell in tables[0]:
        for other in (cell for table in tables[1:] for cell in table):
            if other.name == cell.name:
                assert other.configs[0] == cell.configs[0]
