"""What a bench has written is read back as it was."""

import json
from dataclasses import asdict

from bench.command import load
from bench.figures import Promise, Table


def test_tables_come_back_as_they_were_written(tmp_path):
    tables = [
        Table("One", ("daemon", "s"), (("lvs-nat", 1.5), ("keepalived", None)), bars="s"),
        Table("Two", ("x",), (), ("A note.",), (Promise("few", 1.0, 2.0),)),
    ]
    file = tmp_path / "tables"
    file.write_text(json.dumps([asdict(table) for table in tables]))

    assert load(file) == tables
