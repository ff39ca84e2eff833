"""What the tour and the suite make of numbers, checked on made-up ones."""

import unittest

import suite
from labkit.rack import fair, judge


def requests(*answers):
    """One request each 10 ms: (flow, node)."""
    return [{"at": index / 100, "flow": flow, "node": node, "ms": 0.5} for index, (flow, node) in enumerate(answers)]


class Loss(unittest.TestCase):
    def test_without_loss_there_is_no_gap(self):
        loss = judge(requests((0, "n1"), (1, "n2"), (0, "n1"), (1, "n3")), "n2", 10)
        self.assertEqual((loss.lost, loss.gap_ms, loss.flows, loss.stranded, loss.moved), (0, 0.0, 2, 1, 0))

    def test_the_gap_is_from_the_first_lost_request_to_the_end_of_the_last(self):
        loss = judge(requests((0, "n2"), (0, None), (0, "n1"), (0, None), (0, "n1")), "n2", 10)
        self.assertEqual(loss.lost, 2)
        self.assertAlmostEqual(loss.gap_ms, 30)

    def test_a_flow_of_a_living_node_that_goes_to_another_has_moved(self):
        loss = judge(requests((0, "n1"), (1, "n2"), (0, "n3"), (1, "n3")), "n2", 10)
        self.assertEqual((loss.stranded, loss.moved), (1, 1))

    def test_a_flow_without_an_answer_at_the_end_is_unanswered(self):
        self.assertEqual(judge(requests((0, "n2"), (0, None)), "n2", 10).unanswered, 1)

    def test_the_order_of_the_lines_doesn_t_matter(self):
        lines = requests((0, "n2"), (0, None), (0, "n1"))
        self.assertEqual(judge(lines[::-1], "n2", 10), judge(lines, "n2", 10))


class Spread(unittest.TestCase):
    def test_a_third_each_is_fair(self):
        self.assertTrue(fair({"n1": 100, "n2": 100, "n3": 100}))

    def test_the_bounds_are_20_and_47_percent(self):
        self.assertTrue(fair({"n1": 60, "n2": 100, "n3": 140}))
        self.assertFalse(fair({"n1": 59, "n2": 101, "n3": 140}))
        self.assertFalse(fair({"n1": 79, "n2": 79, "n3": 142}))

    def test_a_lost_request_or_an_absent_node_is_not_fair(self):
        self.assertFalse(fair({"n1": 100, "n2": 100, "n3": 99, "lost": 1}))
        self.assertFalse(fair({"n1": 150, "n2": 150}))


class Count(unittest.TestCase):
    CARGO = suite.Stage("unit tests", [], suite.CARGO_RESULT)
    PYTHON = suite.Stage("lab", [], suite.PYTHON_RESULT)
    LINE = "test result: ok. {} passed; {} failed; {} ignored; 0 measured; 0 filtered out; finished in 0.00s\n"

    def outcome(self, stage, output, code=0):
        return suite.count(stage, output, code, 1.0)

    def test_the_results_of_all_binaries_are_added(self):
        outcome = self.outcome(self.CARGO, self.LINE.format(3, 0, 0) + "noise\n" + self.LINE.format(4, 0, 0))
        self.assertEqual(outcome.passed, 7)
        self.assertTrue(outcome.good())

    def test_an_ignored_test_fails_the_stage(self):
        self.assertFalse(self.outcome(self.CARGO, self.LINE.format(3, 0, 1)).good())

    def test_a_stage_without_tests_fails(self):
        self.assertFalse(self.outcome(self.CARGO, "").good())
        self.assertFalse(self.outcome(self.PYTHON, "0 passed, 0 failed\n").good())

    def test_an_exit_status_that_no_failed_test_explains_fails_the_stage(self):
        self.assertFalse(self.outcome(self.PYTHON, "5 passed, 0 failed\n", code=1).good())

    def test_a_plain_command_counts_as_one(self):
        self.assertTrue(self.outcome(suite.Stage("format", []), "").good())
        self.assertFalse(self.outcome(suite.Stage("format", []), "", code=1).good())


if __name__ == "__main__":
    unittest.main()
