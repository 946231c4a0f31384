"""What other programs print during an evaluation is in the log, readable."""

import logging

from efficientps_d2.evaluation.prints import prints_in_log


def test_prints_are_logged(capsys, caplog):
    caplog.set_level(logging.INFO)
    with prints_in_log():
        for count in range(3):
            print(f"\rImages Processed: {count}", end=" ")
        print("\nwhat  : AP\b\b\ncar   : 0.5")
    assert capsys.readouterr().out == ""
    (record,) = caplog.records
    assert record.message == "\nImages Processed: 2 \nwhat  : AP\ncar   : 0.5"
