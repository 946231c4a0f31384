"""Lists of images: folders, patterns, Parquet, and names that differ."""

import os
from io import BytesIO
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from efficientps_d2_runtime.batch.image_table import read_shard, shard_size, write_listing
from efficientps_d2_runtime.batch.listing import list_images
from efficientps_d2_runtime.errors import InputError


@pytest.fixture
def photos(tmp_path):
    for name in ("b.JPG", "a.png", "notes.txt", "sub/a.png", "sub/c.png", "sub/deep/d.png"):
        file = tmp_path / "photos" / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.touch()
    return tmp_path / "photos"


def listed(address, **options) -> list[tuple[str, str]]:
    """The end of each path, and its name."""
    rows = list_images(str(address), **options).to_pylist()
    return [(Path(row["image"]).name, row["name"]) for row in rows]


def test_a_folder(photos):
    assert listed(photos) == [("a.png", "a"), ("b.JPG", "b")]
    image = list_images(str(photos))["image"][0].as_py()
    assert image == str(photos / "a.png")


def test_patterns(photos):
    assert listed(photos / "sub" / "*.png") == [("a.png", "a"), ("c.png", "c")]
    assert listed(photos / "[ab].*") == [("a.png", "a"), ("b.JPG", "b")]
    assert [image for image, _ in listed(photos / "**" / "?.png")] == [
        "a.png",
        "a.png",
        "c.png",
        "d.png",
    ]
    assert len(listed(photos / "**")) == 5


def test_names_are_paths_where_stems_are_not_enough(photos):
    names = [name for _, name in listed(photos / "**")]
    assert names == ["a", "b", "sub/a", "sub/c", "sub/deep/d"]
    (photos / "sub" / "a.jpg").touch()
    names = [name for _, name in listed(photos / "**")]
    assert names == ["a.png", "b.JPG", "sub/a.jpg", "sub/a.png", "sub/c.png", "sub/deep/d.png"]


def test_folders_that_look_like_patterns_and_links(photos, monkeypatch):
    odd = photos.parent / "photos [2020]"
    photos.rename(odd)
    assert listed(odd) == [("a.png", "a"), ("b.JPG", "b")]
    monkeypatch.chdir(odd)
    assert len(listed(".")) == 2 and len(listed("sub/*.png")) == 2
    (odd / "linked").symlink_to(odd / "sub")
    assert len(listed("*/?.png")) == 4
    assert len(listed("**")) == 5  # links may lead in circles


def test_a_pattern_goes_as_deep_as_it_says(photos):
    (photos / "sub" / "up").symlink_to(photos)  # a circle
    assert [name for name, _ in listed(f"{photos}/*/*.png")] == ["a.png", "c.png"]
    assert len(listed(f"{photos}/**/*.png")) == 4


def test_patterns_that_are_none(photos):
    with pytest.raises(InputError, match=r"/\[z-a\]\*.png is no pattern .*; correct what is in br"):
        list_images(str(photos / "[z-a]*.png"))
    with pytest.raises(InputError, match="a pattern in the name of its bucket; give the whole"):
        list_images("s3://bu*/photos")


def test_ids_differ(tmp_path):
    for name in ("x.png", "x_leftImg8bit.png"):
        (tmp_path / name).touch()
    file = pq.ParquetFile(BytesIO(write_listing(list_images(str(tmp_path)), 2)))
    assert [source.image_id for source in read_shard(file, 0)] == ["x.png", "x_leftImg8bit.png"]


def test_names_do_not_leave_the_folder(photos):
    paths = ["../photos/a.png", "../photos/sub/a.png"]
    images = list_images(str(write(photos / "list.parquet", path=paths))).to_pylist()
    assert [row["image"] for row in images] == [str(photos / "a.png"), str(photos / "sub/a.png")]
    assert not any(".." in row["name"] or row["name"].startswith("/") for row in images)


def test_names_that_are_no_text(tmp_path):
    open(os.fsencode(tmp_path) + b"/\xe9.png", "w").close()
    with pytest.raises(InputError, match="holds a file whose name is no UTF-8 .*; rename it"):
        list_images(str(tmp_path))


def test_what_holds_no_image(photos):
    (photos / "empty").mkdir()
    with pytest.raises(InputError, match=r"empty holds no image; give .* or '.*empty/\*\*' for"):
        list_images(str(photos / "empty"))
    with pytest.raises(InputError, match="nowhere does not exist; give a folder"):
        list_images(str(photos / "nowhere"))
    with pytest.raises(InputError, match="No image fits .*; correct the pattern"):
        list_images(str(photos / "*.webp"))
    with pytest.raises(InputError, match="give a path, s3://, gs://"):
        list_images("nothing://photos")


def write(file: Path, **columns) -> Path:
    pq.write_table(pa.table(columns), file, row_group_size=2)
    return file


def test_paths_in_parquet_are_relative_to_it(tmp_path, photos):
    file = write(photos / "list.parquet", path=["sub/c.png", str(photos / "a.png"), "s3://x/y.png"])
    images = list_images(str(file)).to_pylist()
    assert [row["image"] for row in images] == [
        str(photos / "sub" / "c.png"),
        str(photos / "a.png"),
        "s3://x/y.png",
    ]
    assert [row["name"] for row in images] == ["c", "a", "y"]


def test_addresses_of_the_web_are_named_without_their_queries(tmp_path):
    signed = [f"https://host/{name}.png?key=a.b/{name}#x" for name in "ab"]
    assert [row["name"] for row in of_urls(tmp_path, signed)] == ["a", "b"]
    numbered = [f"https://host/image?id={number}" for number in (1, 2)]
    names = [row["name"] for row in of_urls(tmp_path, numbered)]
    assert names == ["host/image?id=1", "host/image?id=2"]


def of_urls(folder: Path, urls: list[str]) -> list[dict]:
    return list_images(str(write(folder / "urls.parquet", url=urls))).to_pylist()


def test_bytes_in_parquet(tmp_path):
    write(tmp_path / "a.parquet", image=[{"bytes": b"1", "path": "x.png"}] * 3)
    write(tmp_path / "b.parquet", image=[{"bytes": b"1", "path": "x.png"}])
    images = list_images(str(tmp_path)).to_pylist()
    assert [(Path(row["image"]).stem, row["row"]) for row in images] == [
        ("a", 0),
        ("a", 1),
        ("a", 2),
        ("b", 0),
    ]
    assert images[1]["name"] == "a_000001"


def test_parquet_files_of_one_stem(tmp_path):
    for name in ("x.parquet", "x.pq"):
        write(tmp_path / name, image=[b"1"])
    names = [row["name"] for row in list_images(str(tmp_path)).to_pylist()]
    assert names == ["x.parquet_000000", "x.pq_000000"]


def test_mistakes_of_parquet(tmp_path):
    file = write(tmp_path / "x.parquet", picture=["a.png", "a.png"], size=[1, 2])
    with pytest.raises(InputError, match="none of the columns image, .*name one of picture, size"):
        list_images(str(file))
    with pytest.raises(InputError, match="has no column photo; give one of picture, size"):
        list_images(str(file), "photo")
    with pytest.raises(InputError, match="column size of .* is int64; give one with paths"):
        list_images(str(file), "size")
    with pytest.raises(InputError, match="lists 1 images twice"):
        list_images(str(file), "picture")
    (tmp_path / "y.parquet").write_bytes(b"PAR1")
    with pytest.raises(InputError, match="y.parquet cannot be read"):
        list_images(str(tmp_path / "y.parquet"))
    with pytest.raises(InputError, match="lists no image"):
        list_images(str(write(tmp_path / "z.parquet", image=pa.array([], pa.string()))))
    with pytest.raises(InputError, match="rows without a path"):
        list_images(str(write(tmp_path / "z.parquet", image=["a", None])))


def test_a_shard_is_a_row_group(photos):
    table = list_images(str(photos / "**"))
    file = pq.ParquetFile(BytesIO(write_listing(table, 2)))
    assert [[s.name for s in read_shard(file, n)] for n in range(3)] == [
        ["a", "b"],
        ["sub/a", "sub/c"],
        ["sub/deep/d"],
    ]
    names = [s.image_id for n in range(3) for s in read_shard(file, n)]
    assert names == ["a", "b", "sub/a", "sub/c", "sub/deep/d"]


def test_the_size_of_shards():
    assert shard_size(1, 1) == 1
    assert shard_size(100, 2) == 7
    assert shard_size(1_000_000, 8) == 256
