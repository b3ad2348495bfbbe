"""What measured processes tell is told from what they print."""

from __future__ import annotations

import subprocess
import sys
from io import StringIO

from scanpy_oom.bench.channel import MARK, events


def test_events_are_found_among_what_others_write():
    log = StringIO()
    lines = ["starting\n", f'half a line {MARK}{{"event": "begin"}}\n', f'{MARK}{{"event": "end"}}\n', "\n"]
    assert [event["event"] for event in events(lines, log)] == ["begin", "end"]
    assert log.getvalue() == "starting\nhalf a line \n"


def test_an_event_that_a_kill_has_cut_is_none():
    log = StringIO()
    assert list(events([f'{MARK}{{"event": "begin"}}\n', f'{MARK}{{"event": "en'], log)) == [{"event": "begin"}]
    assert log.getvalue() == '{"event": "en'


def test_what_compiled_code_writes_to_standard_output_is_no_event():
    code = (
        "import os; from scanpy_oom.bench.channel import report, take_channel\n"
        "channel = take_channel(); os.write(1, b'from C\\n'); print('from Python', flush=True)\n"
        "report(channel, event='end', number=3)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert list(events(StringIO(done.stdout), StringIO())) == [{"event": "end", "number": 3}]
    assert done.stderr == "from C\nfrom Python\n"
