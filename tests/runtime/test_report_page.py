"""
The page in a real browser: on a desk and on a phone, by day and by night.

Skipped, visibly, where no Chromium is; `make check-report` runs it.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Final

import pytest

from core.mutants import Change
from mmbot.runtime.report.write import write_report
from runtime.browser import Scheme, Tab, browser, find_browser
from runtime.report_rig import Fault, cut, mutant, play

_BROWSER: Final = find_browser()
pytestmark = pytest.mark.skipif(
    _BROWSER is None, reason="no Chromium here (Debian: apt-get install chromium)"
)
_BRIGHT: Final = """
    (() => {
        const [r, g, b] = getComputedStyle(document.body).backgroundColor.match(/\\d+/g).map(Number)
        return (r + g + b) / 765
    })()
"""
_EMPTY: Final = """
    [...document.querySelectorAll('figure.plot:not(.none)')].filter(figure => {
        const lines = [...figure.querySelectorAll('path.line, path.dots')]
        const box = figure.querySelector('svg').getBoundingClientRect()
        const drawn = lines.some(line => line.getTotalLength() > 0 || line.getBBox().width > 0)
        return box.width < 80 || box.height < 60 || !drawn
    }).map(figure => figure.querySelector('figcaption').textContent)
"""
_WIDE: Final = """
    [...document.querySelectorAll('main *')].filter(it => {
        if (it.closest('.scroll') || it.closest('svg')) return false
        return it.getBoundingClientRect().right > innerWidth + 1
    }).map(it => it.tagName + '.' + it.className).slice(0, 5)
"""


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Pages of a sound run, of one with everything in it, and of one of which little is left."""
    found = {name: tmp_path_factory.mktemp(name) for name in ("sound", "broken", "scarce")}
    play(found["sound"], scenario="demo", seed=2, span_s=200)
    fault = Fault((), begun=mutant("inventory_skew_bps", Change.ZERO))
    play(found["broken"], scenario="demo", seed=3, span_s=200, fault=fault, acts=((0.5, cut),))
    play(found["scarce"], scenario="hype", seed=4, span_s=30)
    (found["scarce"] / "log.jsonl").unlink()
    for folder in found.values():
        write_report(folder)
    return found


@pytest.fixture(scope="module")
def tab() -> Iterator[Tab]:
    """One browser for all of them."""
    assert _BROWSER is not None
    with browser(_BROWSER) as found:
        yield found


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize(("width", "is_phone"), [(1280, False), (390, True)], ids=["desk", "phone"])
@pytest.mark.parametrize("name", ["sound", "broken", "scarce"])
def test_the_page_is_shown_whole_everywhere(
    folders: dict[str, Path], tab: Tab, name: str, width: int, is_phone: bool, scheme: Scheme
) -> None:
    """What a trader cannot read on a phone at night, at the moment it matters, is not there."""
    tab.requests.clear()
    tab.complaints.clear()
    tab.view(width, 844, scheme, is_phone=is_phone)

    tab.open(folders[name] / "report.html")

    assert tab.ask("document.documentElement.scrollWidth") <= width, tab.ask(_WIDE)
    assert tab.ask(_WIDE) == []
    assert tab.ask(_EMPTY) == []
    plots = tab.ask("document.querySelectorAll('figure.plot:not(.none) svg').length")
    assert plots >= (3 if name == "scarce" else 20)
    assert (tab.ask(_BRIGHT) > 0.5) is (scheme == "light")
    assert tab.requests == []
    assert tab.complaints == []


def test_the_first_look_says_what_happened(folders: dict[str, Path], tab: Tab) -> None:
    """Verdict, sum and first suspect stand on the first screen, without scrolling."""
    tab.view(1280, 844, "light", is_phone=False)

    tab.open(folders["broken"] / "report.html")

    for selector in (".verdict", ".card b", "ol.causes li b"):
        bottom = tab.ask(f"document.querySelector('{selector}').getBoundingClientRect().bottom")
        assert bottom < 844, selector


def test_text_can_be_read_by_day_and_by_night(folders: dict[str, Path], tab: Tab) -> None:
    """Contrast of 4.5 to 1, which is what can be read in sunlight (WCAG 2.1, 1.4.3)."""
    script = """
        (() => {
            const lum = text => {
                const [r, g, b] = text.match(/[\\d.]+/g).slice(0, 3).map(v => {
                    v /= 255
                    return v <= 0.03928 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4
                })
                return 0.2126 * r + 0.7152 * g + 0.0722 * b
            }
            const back = it => {
                for (; it; it = it.parentElement) {
                    const found = getComputedStyle(it).backgroundColor
                    if (!found.endsWith(', 0)')) return found
                }
            }
            return [...document.querySelectorAll('main *')].filter(it =>
                [...it.childNodes].some(n => n.nodeType === 3 && n.textContent.trim())
            ).filter(it => {
                const both = [lum(getComputedStyle(it).color), lum(back(it))]
                const [a, b] = both.sort((x, y) => y - x)
                return (a + 0.05) / (b + 0.05) < 4.5
            }).map(it => it.tagName + '.' + it.className).slice(0, 5)
        })()
    """
    for scheme in ("light", "dark"):
        tab.view(1280, 844, scheme, is_phone=False)
        tab.open(folders["broken"] / "report.html")
        assert tab.ask(script) == [], scheme
