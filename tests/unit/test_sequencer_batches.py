"""What an envelope needs of its own batch, and nobody foresaw, is sent again: never decided wrongly, never a crash."""

from settlement.ledger.envelope import parse
from settlement.ledger.execution import Execution
from settlement.ledger.rejections import Rejection
from settlement.ledger.sequencer import _decide
from settlement.ledger.settling import Pay
from settlement.ledger.state import Key, Ledger, Operator, State
from tests.ledger_model import ORIGIN, World


def test_an_envelope_whose_rows_were_not_loaded_is_to_be_sent_again() -> None:
    world = World()
    alfa = world.admit("alfa")
    state = State(whole=False)
    for row_type in (Ledger, Operator, Key):
        state.load(world.state.all(row_type))
    execution = Execution(ORIGIN, world.origin.public, state, size=9, chain=b"chain")
    raw = alfa.signer.sign(world.make(Pay, obligation=world.new_id(), amount=1))
    answer = _decide(execution, parse(raw), world.time)
    assert isinstance(answer, Rejection)
    assert answer.code == "overloaded"
    assert (execution.size, execution.chain) == (9, b"chain")
