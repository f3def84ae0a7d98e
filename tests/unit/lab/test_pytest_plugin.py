"""The pytest plugin, in pytest runs of its own."""

from __future__ import annotations

import pytest

pytest_plugins = ["pytester"]

FAILING = """
    import asyncio

    async def scenario(lab):
        lab.host("alice", "192.0.2.1")
        lab.host("bob", "192.0.2.2")
        transport, _ = await lab.loop.create_datagram_endpoint(
            asyncio.DatagramProtocol, local_addr=("192.0.2.1", 5060))
        transport.sendto(b"INVITE sip:bob@example.com SIP/2.0\\r\\nCSeq: 1 INVITE\\r\\n\\r\\n", ("192.0.2.2", 5060))
        await asyncio.sleep(1)
        transport.close()
        assert lab.seed in GOOD
"""


def run(pytester: pytest.Pytester, source: str, *arguments: str) -> pytest.RunResult:
    pytester.makepyfile(source)
    return pytester.runpytest_subprocess("-p", "no:randomly", *arguments)


@pytest.mark.parametrize("mode", ["auto", "strict", "absent"])
def test_tests_may_be_functions_or_coroutine_functions(pytester: pytest.Pytester, mode: str) -> None:
    plugin = ["-o", f"asyncio_mode={mode}", "-o", "asyncio_default_fixture_loop_scope=function"]
    if mode == "absent":
        plugin = ["-p", "no:asyncio"]
    result = run(
        pytester,
        """
        import asyncio
        import pytest

        def test_function(lab):
            lab.run(asyncio.sleep(100))
            assert lab.time() == 100

        async def test_coroutine(lab):
            await asyncio.sleep(100)
            assert asyncio.get_running_loop() is lab.loop
            assert lab.time() == 100

        @pytest.fixture
        def network(lab):
            return lab.network

        @pytest.mark.parametrize("number", [1, 2])
        async def test_indirect(network, number):
            assert asyncio.get_running_loop() is network.loop

        class TestClass:
            def setup_method(self):
                self.ready = True

            async def test_method(self, lab):
                assert self.ready
                assert asyncio.get_running_loop() is lab.loop
        """,
        *plugin,
        "-W",
        "error",
    )
    result.assert_outcomes(passed=5)


def test_a_failing_test_prints_its_seed_and_ladder(pytester: pytest.Pytester) -> None:
    result = run(pytester, FAILING.replace("GOOD", "()") + "\n    def test_it(lab):\n        lab.run(scenario(lab))\n")
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(
        [
            "*the lab's run*",
            "seed 0, failed at 1 s of virtual time",
            "replay with: pytest *::test_it --lab-seed 0",
            "*alice*bob*",
            "*INVITE (1)*",
        ]
    )


def test_a_failing_seed_is_printed_and_can_be_replayed(pytester: pytest.Pytester) -> None:
    source = FAILING.replace("GOOD", "range(7)") + "\n    def test_it(over_seeds):\n        over_seeds(scenario)\n"
    result = run(pytester, source)
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(["*seed 7, failed at 1 s*", "*replay with: pytest *::test_it --lab-seed 7", "*alice*"])
    again = run(pytester, source, "--lab-seed", "7")
    again.assert_outcomes(failed=1)
    run(pytester, source, "--lab-seed", "6").assert_outcomes(passed=1)


def test_the_number_of_seeds(pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch) -> None:
    source = """
        import os

        def test_it(over_seeds):
            tried = []

            async def scenario(lab):
                tried.append(lab.seed)

            over_seeds(scenario, 5)
            assert tried == list(range(int(os.environ["EXPECTED"])))
    """
    monkeypatch.setenv("EXPECTED", "5")
    monkeypatch.delenv("SWITCHROOM_LAB_SEEDS", raising=False)
    run(pytester, source).assert_outcomes(passed=1)
    monkeypatch.setenv("EXPECTED", "30")
    monkeypatch.setenv("SWITCHROOM_LAB_SEEDS", "30")
    run(pytester, source).assert_outcomes(passed=1)


def test_where_the_seed_comes_from(pytester: pytest.Pytester) -> None:
    source = """
        import pytest

        @pytest.mark.lab_seed(11)
        def test_marked(lab, request):
            assert lab.seed == (request.config.getoption("--lab-seed") or 11) or lab.seed == -4

        def test_unmarked(lab, request):
            assert str(lab.seed) == (request.config.getoption("--lab-seed") or "0")
    """
    run(pytester, source, "--strict-markers").assert_outcomes(passed=2)
    run(pytester, source, "--lab-seed=-4").assert_outcomes(passed=2)
    run(pytester, source, "--lab-seed", "any text").assert_outcomes(passed=2)


def test_what_fails_in_the_background_fails_the_test(pytester: pytest.Pytester) -> None:
    result = run(
        pytester,
        """
        import asyncio

        async def test_it(lab):
            lab.loop.call_later(1, lambda: 1 // 0)
            await asyncio.sleep(2)
        """,
    )
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(["*ZeroDivisionError*"])


@pytest.mark.parametrize("fixture", ["lab", "over_seeds"])
def test_failed_runs_are_kept_on_demand(pytester: pytest.Pytester, fixture: str) -> None:
    call = "lab.run(scenario(lab))" if fixture == "lab" else "over_seeds(scenario)"
    source = FAILING.replace("GOOD", "range(3) if LATE else ()") + f"\n    def test_it({fixture}):\n        {call}\n"
    source = f"    LATE = {fixture == 'over_seeds'}\n" + source
    run(pytester, source).assert_outcomes(failed=1)
    assert not (pytester.path / "kept").exists()
    run(pytester, source, "--lab-failures", "kept").assert_outcomes(failed=1)
    seed = 0 if fixture == "lab" else 3
    svg, text = sorted((pytester.path / "kept").iterdir(), key=lambda path: path.suffix)
    assert svg.name.endswith(f"test_it-seed-{seed}.svg")
    assert svg.read_text().startswith("<svg")
    assert text.read_text().startswith("0.000000 UDP alice 192.0.2.1:5060 > 192.0.2.2:5060 bob [refused 0.010000]")
