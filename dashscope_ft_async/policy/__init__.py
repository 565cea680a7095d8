"""Pure decisions: how a wait is paced, which failures are transient, and when a wait gives up."""

from dashscope_ft_async.policy.failures import (
    is_transient,
    is_wrong_address,
    may_have_effect,
    may_repeat,
    may_retry,
)
from dashscope_ft_async.policy.policies import PollPolicy, RetryPolicy
from dashscope_ft_async.policy.steps import (
    ANSWERED,
    Contact,
    Done,
    Fail,
    Outcome,
    Sleep,
    Snapshot,
    Step,
    Trouble,
    WaitPolicy,
    WaitState,
    gave_up,
    next_step,
)

__all__ = [
    "ANSWERED",
    "Contact",
    "Done",
    "Fail",
    "Outcome",
    "PollPolicy",
    "RetryPolicy",
    "Sleep",
    "Snapshot",
    "Step",
    "Trouble",
    "WaitPolicy",
    "WaitState",
    "gave_up",
    "is_transient",
    "is_wrong_address",
    "may_have_effect",
    "may_repeat",
    "may_retry",
    "next_step",
]
