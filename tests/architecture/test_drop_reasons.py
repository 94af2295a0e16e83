"""The reasons for dropping a packet have the same names in Rust, in Python and in the kernel."""

import re
from pathlib import Path

import pytest

from plutino.model.drop_reason import LINK_COUNTERS, XFRM_STAT

STATS_RS = Path(__file__).parents[2] / "engine" / "core" / "src" / "stats.rs"


def test_the_engine_counts_under_the_names_that_the_command_line_explains() -> None:
    listed = re.search(r"\ndrop_reasons!\((.*?)\);", STATS_RS.read_text(), re.DOTALL)
    assert listed is not None
    names = ["Xfrm" + name for name in re.findall(r"\w+", listed[1])]
    assert names == list(XFRM_STAT)


def test_this_kernels_counters_are_all_known() -> None:
    text = Path("/proc/net/xfrm_stat").read_text()
    names = [line.split()[0] for line in text.splitlines()]
    assert names, "the kernel shows no xfrm_stat"
    assert set(names) <= set(XFRM_STAT)
    assert names == [name for name in XFRM_STAT if name in names], "the order is the kernel's"


def test_the_link_counters_are_those_of_the_kernels_header() -> None:
    header = Path("/usr/include/linux/if_link.h")
    if not header.exists():
        pytest.fail("linux/if_link.h is missing: apt-get install linux-libc-dev")
    struct = re.search(r"struct rtnl_link_stats64 \{(.*?)\n\};", header.read_text(), re.DOTALL)
    assert struct is not None
    fields = re.findall(r"^\s*__u64\s+(\w+);", struct[1], re.MULTILINE)
    assert tuple(fields) == LINK_COUNTERS[: len(fields)]
    assert len(fields) >= 24
