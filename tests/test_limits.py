import pytest

from advcal_edge.errors import BundleError, ConfigError
from advcal_edge.limits import Limit

WIDTH = Limit("TEST_WIDTH", 10, "columns")


def test_default_holds_without_the_variable():
    WIDTH.check(10, "`a`", BundleError)
    with pytest.raises(BundleError, match="`a` has 11 columns; expected at most 10") as caught:
        WIDTH.check(11, "`a`", BundleError)
    assert "ADVCAL_MAX_TEST_WIDTH=11" in str(caught.value.hint)


def test_variable_raises_the_limit(monkeypatch):
    monkeypatch.setenv("ADVCAL_MAX_TEST_WIDTH", "11")
    WIDTH.check(11, "`a`", BundleError)


@pytest.mark.parametrize("text", ["", "0", "-1", "many", "1e9", "9" * 19, "٣"])
def test_variable_that_is_no_number_is_refused(monkeypatch, text):
    monkeypatch.setenv("ADVCAL_MAX_TEST_WIDTH", text)
    with pytest.raises(ConfigError, match="ADVCAL_MAX_TEST_WIDTH"):
        WIDTH.check(1, "`a`", BundleError)
