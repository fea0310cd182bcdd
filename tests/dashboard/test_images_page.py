import pytest
from dashboard_app import open_page, texts
from edge_runs import build, draw, pairs


@pytest.fixture
def three(tmp_path):
    return build(tmp_path, "three")


def captions(app):
    return [image.caption for one in app.get("image") for image in one.proto.imgs]


def alts(app):
    return [image.alt for one in app.get("image") for image in one.proto.imgs]


def test_the_knee_s_sheets_a_page_of_steps_at_a_time(three, tmp_path, monkeypatch):
    draw(three, "u00001", range(8))
    app = open_page(monkeypatch, tmp_path, "images")
    assert app.selectbox(key="images").value == "u00001"
    assert captions(app) == [f"step {step}" for step in range(6)]
    assert "6 of 8 sheets" in texts(app)
    app.session_state["sheet-page"] = 2
    app.run()
    assert captions(app) == ["step 6", "step 7"]


def test_trials_with_sheets_are_offered_first(three, tmp_path, monkeypatch):
    draw(three, "u00002", [0])
    app = open_page(monkeypatch, tmp_path, "images")
    assert app.selectbox(key="images").options == ["u00002", "u00001", "u00000"]


def test_two_trials_in_step(three, tmp_path, monkeypatch):
    draw(three, "u00001", [0, 2])
    draw(three, "u00000", [0, 3])
    app = open_page(monkeypatch, tmp_path, "images")
    app.selectbox(key="images-beside").select("u00000").run()
    assert captions(app) == ["step 0", "step 0", "step 2", "step 3"]
    assert "no sheet of step 2" in texts(app)
    assert "no sheet of step 3" in texts(app)


def test_what_was_asked_with_the_teacher_s_labels(three, tmp_path, monkeypatch):
    labels = [3, 3, 7, *[3] * 70]
    pairs(three, "u00001", labels)
    app = open_page(monkeypatch, tmp_path, "images")
    assert "1 to 60 of 73 images" in texts(app)
    assert alts(app)[0].startswith("60 images that trial u00001 asked")
    assert "2 classes appear among 73 answers; the most frequent, 3, has 99% of them." in texts(app)
    assert app.dataframe[0].value["answers"].tolist() == [72, 1]
    app.selectbox(key="class").select(7).run()
    assert alts(app) == ["1 images that trial u00001 asked, each over the teacher's label: 7."]


def test_probabilities_of_a_soft_teacher_are_told(three, tmp_path, monkeypatch):
    pairs(three, "u00001", [3, 4], soft=True)
    assert "label and its probability" in texts(open_page(monkeypatch, tmp_path, "images"))


def test_where_nothing_is_kept_the_page_says_why(three, tmp_path, monkeypatch):
    app = open_page(monkeypatch, tmp_path, "images")
    assert "left no sheets" in app.info[0].value
    assert "kept beside its student" in app.info[1].value
    build(tmp_path, "none")
    assert "No trial has begun yet" in open_page(monkeypatch, tmp_path, "images", run="none").info[0].value


def test_damaged_pairs_are_told_and_the_sheets_stay(three, tmp_path, monkeypatch):
    draw(three, "u00001", [0])
    pairs(three, "u00001", [1, 2, 3])
    whole = three.pairs("u00001").read_bytes()
    three.pairs("u00001").write_bytes(whole[: len(whole) // 2])
    app = open_page(monkeypatch, tmp_path, "images")
    assert "cannot be read" in app.error[0].value
    assert captions(app) == ["step 0"]


def test_samples_that_lead_out_of_the_storage_are_not_read(tmp_path, monkeypatch):
    layout = build(tmp_path / "storage", "three")
    (tmp_path / "elsewhere" / "u00001").mkdir(parents=True)
    (tmp_path / "elsewhere" / "u00001" / "00000.png").write_bytes(b"secret")
    layout.samples.symlink_to(tmp_path / "elsewhere")
    app = open_page(monkeypatch, tmp_path / "storage", "images")
    assert not app.exception
    assert not captions(app)
    assert "cannot" in texts(app)
