import json
from contextlib import suppress

import pytest
from hypothesis import given, strategies as st

from advcal_edge import limits
from advcal_edge.documents import parse_json, read_json, read_object, read_toml
from advcal_edge.errors import BundleError, ConfigError

PLAIN = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**64), 2**64)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(st.characters(exclude_categories=["Cs"])),
    lambda inner: (
        st.lists(inner, max_size=4) | st.dictionaries(st.text(st.characters(exclude_categories=["Cs"])), inner)
    ),
    max_leaves=20,
)


@given(PLAIN)
def test_whatever_json_writes_is_read_back(document):
    assert parse_json(json.dumps(document), "here", BundleError) == document


@given(st.binary(max_size=200))
def test_any_bytes_are_json_or_a_typed_error(data):
    with suppress(BundleError):
        parse_json(data, "here", BundleError)


@pytest.mark.parametrize(
    "text",
    [
        "NaN",
        "[Infinity]",
        "-Infinity",
        "1e400",
        "9" * 5000,
        "1" + "0" * 400,
        '"\\ud800"',
        '{"\\udfff": 1}',
        "[" * 65 + "]" * 65,
        "[" * 200_000,
        '{"a":' * 100_000,
        "",
        "{",
        '{"a": 1} {}',
    ],
    ids=lambda text: text[:12],
)
def test_refused_in_words(text):
    with pytest.raises(BundleError, match=r"^here cannot be read as JSON: "):
        parse_json(text, "here", BundleError)


def test_files_are_bounded_and_regular(tmp_path, monkeypatch):
    path = tmp_path / "a.json"
    path.write_text("[1]")
    assert read_json(path, limits.MANIFEST_BYTES, BundleError) == [1]
    with pytest.raises(BundleError, match="holds a list; expected a JSON object"):
        read_object(path, limits.MANIFEST_BYTES, BundleError)
    monkeypatch.setenv("ADVCAL_MAX_MANIFEST_BYTES", "2")
    with pytest.raises(BundleError, match="has 3 bytes; expected at most 2"):
        read_json(path, limits.MANIFEST_BYTES, BundleError)


@pytest.mark.parametrize(
    "text",
    ["a = inf", "a = nan", "a = 1e400", f"a = {'9' * 5000}", f"a = {'[' * 500}{']' * 500}", "a = ", "a = '\ud800'"],
    ids=lambda text: text[:12].encode("ascii", "replace").decode(),
)
def test_toml_is_as_strict(tmp_path, text):
    path = tmp_path / "a.toml"
    path.write_bytes(text.encode("utf-8", "surrogatepass"))
    with pytest.raises(ConfigError, match="is not TOML"):
        read_toml(path, ConfigError)
