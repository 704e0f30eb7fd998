"""Tables of tags as spreadsheets and pandas write them."""

import io
import re

import pandas as pd
import pytest

from affinitynet.data.tag_file import parse_file
from affinitynet.data.tag_table import parse_tags

DOG_AND_CAT = {"rex.jpg": ["dog"], "tom.png": ["cat"]}


def read(text, **options):
    source = text if isinstance(text, bytes) else text.encode()
    return parse_file(source, "tags.csv", ",;|", **options)


def tags_of(given):
    found = {}
    for row in given.rows:
        found[row.file] = found.get(row.file, []) + [tag for tag in row.tags if tag]
    return found


FRAME = pd.DataFrame({"file": ["rex.jpg", "tom.png"], "tags": [["dog"], ["cat"]]})
FLAGS = pd.DataFrame({"file": ["rex.jpg", "tom.png"], "cat": [0, 1], "dog": [1, 0]})


def written(frame, **options):
    stream = io.StringIO()
    frame.to_csv(stream, **options)
    return stream.getvalue()


@pytest.mark.parametrize(
    "text",
    [
        "file,tags,\nrex.jpg,dog,\ntom.png,cat,\n",
        "file,tags\nrex.jpg,dog\ntom.png,cat\nTotal,2\n",
        "file,cat,dog\nrex.jpg,0,1\ntom.png,1,0\nSum,1,1\n",
        "file,tags\n\ufeffrex.jpg,dog\n\ufefftom.png,cat\n",
        '{"classes": ["cat", "dog"], "labels": {"rex.jpg": 1, "tom.png": [0]}}',
        '[{"image": "rex.jpg", "annotations": [{"label": "dog"}]},'
        '{"image": "tom.png", "annotations": [{"label": "cat"}]}]',
        "file,tags\n\n,\nrex.jpg,dog\n,,\ntom.png,cat\n\n",
        "file;tags;;\nrex.jpg;dog;;\ntom.png;cat;;\n",
        "sep=;\nfile;tags\nrex.jpg;dog\ntom.png;cat\n",
        '"sep=,"\r\nfile,tags\r\nrex.jpg,dog\r\ntom.png,cat\r\n',
        "sep=\t\nfile\ttags\nrex.jpg\tdog\ntom.png\tcat\n",
        "file|tags\nrex.jpg|dog\ntom.png|cat\n",
        "file,tags\rrex.jpg,dog\rtom.png,cat\r",
        '"file","tags"\n"rex.jpg","dog"\n"tom.png","cat"\n',
        '="file",="tags"\n="rex.jpg",="dog"\n="tom.png",="cat"\n',
        "Dateiname;Katze;dog\nrex.jpg;FALSCH;WAHR\n".replace("Katze", "cat")
        + "tom.png;WAHR;FALSCH\n",
        "nom du fichier;cat;dog\nrex.jpg;0,0;1,0\ntom.png;1,0;0,0\n",
        "Datei;Klasse\nrex.jpg;dog\ntom.png;cat\n",
        "image,label_1,label_2\nrex.jpg,dog,\ntom.png,,cat\n",
        "file,class_id,class_name\nrex.jpg,1,dog\ntom.png,0,cat\n",
        "file,label,label_name\nrex.jpg,0,dog\ntom.png,1,cat\n",
        "file,label,cat,dog\nrex.jpg,dog,0,1\ntom.png,cat,1,0\n",
        "fname,labels,is_valid\nrex.jpg,dog,True\ntom.png,cat,False\n",
        "ImageID,Source,LabelName,Confidence\nrex.jpg,v,dog,1\nrex.jpg,v,cat,0\ntom.png,v,cat,1\n",
        "Our photos,,\n,,\nfile,tags,\nrex.jpg,dog,\ntom.png,cat,\n",
        "# made by hand\nfile,tags\nrex.jpg,dog\ntom.png,cat\n",
        ",file,tags\n0,rex.jpg,dog\n1,tom.png,cat\n",
        "Unnamed: 0.1,Unnamed: 0,file,tags\n0,0,rex.jpg,dog\n1,1,tom.png,cat\n",
        "id,file,tags\n7,rex.jpg,dog\n9,tom.png,cat\n",
        "File Name,Labels\nrex.jpg,dog\ntom.png,cat\n",
        "image_path,label,width,height\nrex.jpg,dog,64,48\ntom.png,cat,64,48\n",
        "id,breed\nrex.jpg,dog\ntom.png,cat\n",
        "rex.jpg,dog\ntom.png,cat\n",
        "file,cat,dog\nrex.jpg,0.0,1.0\ntom.png,1.0,0.0\n",
        "file;cat;dog\nrex.jpg;0,0;1,0\ntom.png;1,0;0,0\n",
        "file,cat,dog\nrex.jpg,,x\ntom.png,X,\n",
        "file,cat,dog\nrex.jpg,no,yes\ntom.png,YES,No\n",
        "file,cat,dog\nrex.jpg,FALSE,TRUE\ntom.png,TRUE,FALSE\n",
        "file,cat,dog\nrex.jpg,-1,1\ntom.png,1,-1\n",
        "file,cat,dog\nrex.jpg,NaN,1.0\ntom.png,1.0,\n",
        "file,cat,dog\nrex.jpg,,1\ntom.png,1\n",
        ",classes,\nfile,cat,dog\nrex.jpg,0,1\ntom.png,1,0\n",
        "file,classes,\n,cat,dog\nrex.jpg,0,1\ntom.png,1,0\n",
        ",cat,dog\nfile,,\nrex.jpg,0,1\ntom.png,1,0\n",
        "file,tags\nrex.jpg,dog\nfile,tags\ntom.png,cat\n",
        'file,tags\nrex.jpg,[\'dog\']\ntom.png,"[""cat""]"\n',
        "file,background,cat,dog\nrex.jpg,1,0,1\ntom.png,1,1,0\n",
        written(FRAME),
        written(FRAME, index=False, sep=";"),
        written(FLAGS),
        written(FLAGS.set_index("file").astype(float)),
        written(FLAGS.set_index("file").astype(bool)),
        written(FLAGS.melt("file").query("value == 1")[["file", "variable"]]),
        FRAME.to_json(orient="records"),
        FRAME.to_json(orient="records", lines=True),
        FRAME.to_json(),
        FLAGS.to_json(orient="records", indent=2),
        '{"rex.jpg": ["dog"], "tom.png": "cat"}',
        '{"file_name": "rex.jpg", "label": "dog"}\n{"file_name": "tom.png", "label": "cat"}\n',
        "file,tags\nrex.jpg,dog\ntom.png,cat\n".encode("utf-16"),
        "file,tags\nrex.jpg,dog\ntom.png,cat\n".encode("utf-16-le"),
        "file,tags\nrex.jpg,dog\ntom.png,cat\n".encode("utf-16-be"),
        "\ufefffile\ttags\r\nrex.jpg\tdog\r\ntom.png\tcat\r\n".encode("utf-16-le"),
    ],
)
def test_tables_that_say_the_same(text):
    given = read(text)
    found = {
        file: [tag for tag in tags if tag != "background"] for file, tags in tags_of(given).items()
    }
    assert found == DOG_AND_CAT


def test_a_label_in_each_line_and_merged_cells():
    given = read("file,label\nrex.jpg,dog\nrex.jpg,cat\ntom.png,cat\n,owl\n")
    assert tags_of(given) == {"rex.jpg": ["dog", "cat"], "tom.png": ["cat", "owl"]}
    assert given.notes == [
        "tags.csv: lines without a file's name, read as of the photo above: 1",
    ]


def test_other_encodings_are_read_and_named():
    given = read("file,tags\nrex.jpg,Bär\n".encode("latin-1"))
    assert tags_of(given) == {"rex.jpg": ["Bär"]}
    assert given.notes == [
        "tags.csv is not UTF-8: it is read as Windows-1252 (Latin-1), line 2 as 'rex.jpg,Bär'"
    ]


def test_what_is_skipped_is_counted():
    given = read("Photos\nno,file,tags,seen by\n1,rex.jpg,dog,me\n,,,\n2,tom.png,cat\n,,,\n")
    assert given.notes == [
        "tags.csv: lines above the columns' names, left out: 1",
        "tags.csv: empty lines, left out: 2",
        "tags.csv: lines with fewer cells than columns, the others are taken for empty: 1",
        "tags.csv: columns that are not read: no, seen by",
    ]


def test_columns_keep_their_order_and_are_named_in_one_form():
    given = read("file,dog\u00a0 big,cafe\u0301\nrex.jpg,1,0\n")
    assert given.classes == ["dog big", "caf\u00e9"]
    assert tags_of(given) == {"rex.jpg": ["dog big"]}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("file,tags,\nrex.jpg,dog,cat\n", "a column without a name has cells, 'cat'; name it"),
        ("file,tags\nrex.jpg,dog,cat\n", "line 2: 3 cells where there are 2 columns; quote"),
        ("file,a,b\nrex.jpg,dog,cat\n", "line 2: 'dog' in the column a is neither 0 nor 1"),
        ("file,cat,dog\nrex.jpg,2,1\n", "line 2: '2' in the column cat is neither 0 nor 1"),
        ("file,tags,cat\nrex.jpg,dog,1\n", "the column tags has tags, and cat has flags"),
        ("file,cat,dog\n,1,1\n", "line 2: no file is named"),
        ("file,tags\n,dog\n", "line 2: no file is named"),
        ("rex.jpg,dog,cat\ntom.png,cat,\n", "its columns are rex.jpg, dog, cat"),
        (b"\x89PNG\r\n\x1a\n\x00\x00\xff", "tags.csv: is no text"),
        ("file,tags\nrex.jpg,{'a': 1}\n", "line 2: tags are an object with a in it"),
    ],
)
def test_what_cannot_be_read_is_named(text, message):
    with pytest.raises(ValueError, match=re.escape(message)):
        read(text)


@pytest.mark.parametrize(
    ("cell", "tags"),
    [
        ("dog", ["dog"]),
        ("dog;cat", ["dog", "cat"]),
        ("['dog', 'cat']", ["dog", "cat"]),
        ('["dog", "cat"]', ["dog", "cat"]),
        ("['dog' 'cat']", ["dog", "cat"]),
        ("['dog'\n 'cat']", ["dog", "cat"]),
        ("('dog',)", ["dog"]),
        ("{'dog'}", ["dog"]),
        ("{dog,cat}", ["dog", "cat"]),
        ("[dog, cat]", ["dog", " cat"]),
        ('["potted plant, small"]', ["potted plant, small"]),
        ('["dog\'s bowl"]', ["dog's bowl"]),
        ("(big) dog (old)", ["(big) dog (old)"]),
        ("(3)", ["(3)"]),
        ("[]", []),
        ("nan", []),
        ("None", []),
        (None, []),
        (float("nan"), []),
        (3, ["3"]),
        (["dog", 3], ["dog", "3"]),
        ('{"choices":["dog","cat"]}', ["dog", "cat"]),
        ([{"x": 1, "rectanglelabels": ["dog"]}, {"rectanglelabels": ["cat"]}], ["dog", "cat"]),
        ({"bbox": [[0, 0, 1, 1]], "categories": [0]}, ["0"]),
    ],
)
def test_cells(cell, tags):
    assert [tag for tag in parse_tags(cell, ",;|") if tag] == tags


def test_blanks_separate_tags_where_each_word_is_a_tag():
    given = read("image_name,tags\na.jpg,cat\nb.jpg,dog\nc.jpg,cat dog\n")
    assert tags_of(given) == {"a.jpg": ["cat"], "b.jpg": ["dog"], "c.jpg": ["cat", "dog"]}
    assert given.notes == [
        "tags.csv: blanks are taken for separators between tags, as in 'cat dog'"
    ]
    for text in ("a.jpg,polar bear\nb.jpg,brown bear\n", "a.jpg,fire truck\nb.jpg,fire\n"):
        kept = read("file,tags\n" + text)
        assert not kept.notes
        assert "a.jpg" in tags_of(kept)
        assert " " in tags_of(kept)["a.jpg"][0]


def test_words_that_tags_share_are_named():
    planet = ["haze primary", "clear primary", "haze water", "clear water", "clear primary water"]
    given = read("file,tags\n" + "".join(f"{k}.jpg,{name}\n" for k, name in enumerate(planet)))
    assert "if blanks separate the tags, write semicolons" in given.notes[0]


def test_numbers_that_pandas_made_fractions():
    given = read("id,label\n7.0,1.0\n8.0,\n")
    assert [(row.file, row.tags) for row in given.rows] == [("7", ["1"]), ("8", [""])]


@pytest.mark.parametrize(
    ("text", "output"),
    [
        ("file,label,old\na.jpg,cat,1\n", "label has tags, and old has flags; leave one kind out"),
        ("filename,region_attributes\na.jpg,{}\n", "is a CSV of VIA; export 'annotations as JSON'"),
    ],
)
def test_tables_that_are_refused(text, output):
    with pytest.raises(ValueError, match=output):
        read(text)
