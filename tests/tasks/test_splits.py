import hashlib

import polars as pl
import pytest

from metatoolagent import artifacts
from metatoolagent.catalog import schemas
from metatoolagent.errors import UserError
from metatoolagent.tasks.splits import draw_parts, read_list, split, write_list


def parts(folder):
    return dict(schemas.read(folder / "tools.parquet", schemas.TOOL_PARTS).select("name", "part").iter_rows())


def make(catalog, kind, committed, out, **changes):
    split(catalog, kind, committed.split.model_copy(update=changes), committed.seed, out)
    return parts(out)


def table(**sizes):
    names = [(f"{domain}{number:02}", domain) for domain, size in sizes.items() for number in range(size)]
    return pl.DataFrame(names, schema=["name", "domain"], orient="row")


def test_each_domain_is_parted_by_the_shares(catalog, committed, tmp_path):
    make(catalog, "cd", committed, tmp_path)
    counted = pl.read_parquet(tmp_path / "tools.parquet").group_by("domain", "part").len().sort("domain", "part")
    sizes = [("test", 3), ("train", 5), ("validation", 2)]
    assert counted.rows() == [(domain, *size) for domain in ("kitchen", "travel") for size in sizes]


def test_questions_are_in_the_part_of_their_tool(catalog, committed, tmp_path):
    part_of = make(catalog, "sd", committed, tmp_path)
    questions = schemas.read(tmp_path / "questions.parquet", schemas.QUESTION_PARTS)
    assert questions.height == 240
    assert all(part_of[tool] == part for tool, part in questions.select("tool", "part").iter_rows())


def test_sd_and_cd_are_the_same_bytes_and_repeat(catalog, committed, tmp_path):
    for kind, folder in (("sd", "a"), ("cd", "b"), ("sd", "c")):
        make(catalog, kind, committed, tmp_path / folder)
    for name in ("tools.parquet", "questions.parquet"):
        assert len({artifacts.sha256(tmp_path / folder / name) for folder in "abc"}) == 1


def test_a_held_out_domain_is_tested_on_as_a_whole(catalog, committed, tmp_path):
    drawn = make(catalog, "cd", committed, tmp_path / "cd")
    held = make(catalog, "hd-travel", committed, tmp_path / "hd")
    domain = dict(pl.read_parquet(catalog / "tools.parquet").select("name", "domain").iter_rows())
    for name, part in held.items():
        assert part == ("test" if domain[name] == "travel" else "validation" if drawn[name] == "validation" else "train")


def test_the_draw_is_a_ranking_by_hash(committed):
    ranked = sorted([f"a{number:02}" for number in range(10)], key=lambda name: hashlib.sha256(f"7:{name}".encode()).hexdigest())
    drawn = draw_parts(table(a=10), committed.split, 7)
    assert [drawn[name] for name in ranked] == ["test"] * 3 + ["validation"] * 2 + ["train"] * 5
    assert draw_parts(table(a=10), committed.split, 8) != drawn


def test_a_tool_that_is_added_hardly_moves_the_others(committed):
    moved = []
    for seed in range(20):
        before, after = (draw_parts(table(a=size), committed.split, seed) for size in (40, 41))
        moved.append(sum(after[name] != part for name, part in before.items()))
    assert max(moved) <= 2


def test_a_share_above_zero_has_a_tool_and_zero_has_none(committed):
    drawn = draw_parts(table(a=5), committed.split.model_copy(update={"test": 0.01, "validation": 0.0}), 0)
    assert sorted(drawn.values()) == ["test"] + ["train"] * 4


def test_all_domains_that_are_too_small_are_told(committed):
    with pytest.raises(UserError) as raised:
        draw_parts(table(a=3, b=10, c=2), committed.split, 0)
    assert raised.value.code == "E-SPLIT-SIZE"
    assert "the domain a has 3 tools" in raised.value.what
    assert "domain c" in raised.value.more
    assert "domain b" not in raised.value.more


@pytest.mark.parametrize(("kind", "told"), [("hd-office", "hd-kitchen, hd-travel"), ("xd", "sd, cd"), ("hd-", "sd, cd")])
def test_an_unknown_kind_is_refused_with_the_known_ones(catalog, committed, tmp_path, kind, told):
    with pytest.raises(UserError) as raised:
        make(catalog, kind, committed, tmp_path)
    assert raised.value.code == "E-SPLIT-KIND"
    assert told in raised.value.fix


def test_without_a_second_domain_nothing_can_be_held_out(tmp_path, committed):
    tools = table(a=6).with_columns(description=pl.col("name") + " is", parameters=pl.lit("{}"))
    publish(tmp_path / "catalog", tools)
    with pytest.raises(UserError, match="E-SPLIT-SIZE"):
        make(tmp_path / "catalog", "hd-a", committed, tmp_path)


def publish(folder, tools):
    questions = pl.DataFrame(schema={name: column.dtype.type for name, column in schemas.QUESTIONS.columns.items()})
    with artifacts.publishing(folder, ["tools.parquet", "questions.parquet"], producer="test") as paths:
        schemas.write(tools, schemas.TOOLS, paths["tools.parquet"])
        schemas.write(questions, schemas.QUESTIONS, paths["questions.parquet"])


def test_a_written_list_gives_the_parts_that_were_drawn(catalog, committed, tmp_path):
    write_list(catalog, committed.split, committed.seed, tmp_path / "split.csv")
    drawn = make(catalog, "sd", committed, tmp_path / "drawn")
    read = make(catalog, "sd", committed, tmp_path / "read", tools_list=str(tmp_path / "split.csv"))
    assert read == drawn
    assert (tmp_path / "split.csv").read_text(encoding="utf-8").startswith("tool,part\n")
    manifest = artifacts.read_manifest(tmp_path / "read")
    assert [path.rpartition("/")[2] for path in manifest["inputs"]] == ["questions.parquet", "tools.parquet", "split.csv"]


@pytest.mark.parametrize(
    ("text", "place", "told"),
    [
        ("", ":1", "first line"),
        ("part,tool\n", ":1", "first line"),
        ("tool,part\na,train\na,test\nb,test\n", ":3", "twice"),
        ("tool,part\na,train\nb,dev\n", ":3", "not a part"),
        ("tool,part\na,train\nb,test\nc,test\n", ":4", "not a tool of the catalog"),
        ("tool,part\na,train\nb\n", ":3", "a tool and its part"),
        ("tool,part\na,train\n", "", "not in the list"),
        ('tool,part\n"a,train\n' + "b,test\n" * 30_000, "", "not CSV"),
    ],
)
def test_a_wrong_list_is_refused(tmp_path, text, place, told):
    path = tmp_path / "split.csv"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(UserError) as raised:
        read_list(path, ["a", "b"])
    error = raised.value
    assert error.code == "E-SPLIT-LIST"
    assert error.where == f"{path}{place}" or (told == "not CSV" and error.where.startswith(f"{path}:"))
    assert told in error.what
    assert 'split.tools_list: ""' in error.fix
    assert f"mta split-list --out {path}" in error.fix


def test_all_faults_of_a_list_are_told_at_once_and_none_that_it_has_not(tmp_path):
    path = tmp_path / "split.csv"
    path.write_text("tool,part\na,dev\na,tset\nnosuch,dev\nb\n", encoding="utf-8")
    with pytest.raises(UserError, match="E-SPLIT-LIST") as raised:
        read_list(path, ["a", "b", "c"])
    told = [raised.value.where, *(line.split()[1] for line in raised.value.more.splitlines()[1:])]
    assert [place.removeprefix(str(path)) for place in told] == [":2", ":3", ":3", ":4", ":4", ":5", ""]  # the last one is c
    assert raised.value.more.endswith('split.csv "c"')


def test_what_is_no_csv_is_told_as_such(tmp_path):
    files = {name: tmp_path / name for name in ("parts.parquet", "parts.csv", "folder")}
    pl.DataFrame({"tool": ["a"], "part": ["train"]}).write_parquet(files["parts.parquet"])
    files["parts.csv"].write_text("tool,part\na,trai\0n\n", encoding="utf-8")
    files["folder"].mkdir()
    told = {}
    for name, path in files.items():
        with pytest.raises(UserError, match="CSV with the columns tool,part") as raised:
            read_list(path, ["a"])
        error = raised.value
        assert error.kept == artifacts.KEPT and error.where.startswith(str(path))
        assert error.fix.startswith("name the list itself in split.tools_list") and "YAML" not in error.fix
        told[name] = error.code
    assert told == {"parts.parquet": "E-ENCODING", "parts.csv": "E-CONTROL-CHAR", "folder": "E-NOT-A-FILE"}


def test_a_missing_list_is_told(tmp_path):
    with pytest.raises(UserError, match="E-MISSING"):
        read_list(tmp_path / "split.csv", ["a"])


def test_a_damaged_catalog_is_refused(catalog, committed, tmp_path):
    for name in ("tools.parquet", "questions.parquet", "manifest.json"):
        (tmp_path / name).write_bytes((catalog / name).read_bytes())
    raw = bytearray((tmp_path / "questions.parquet").read_bytes())
    raw[100] ^= 4
    (tmp_path / "questions.parquet").write_bytes(raw)
    with pytest.raises(UserError, match="E-CORRUPT"):
        make(tmp_path, "sd", committed, tmp_path / "out")


def test_a_leak_stops_the_split_and_keeps_the_earlier_one(catalog, committed, tmp_path):
    make(catalog, "sd", committed, tmp_path)
    before = artifacts.sha256(tmp_path / "manifest.json")
    with pytest.raises(UserError, match="E-"):
        make(catalog, "sd", committed, tmp_path, near_duplicate=0.05)
    assert artifacts.sha256(tmp_path / "manifest.json") == before
