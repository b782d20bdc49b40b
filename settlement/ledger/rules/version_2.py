"""Rules, version 2: version 1, and proposals, obligations and what follows from them."""

from settlement.ledger import settling
from settlement.ledger.rules import consents, deals, disputes, documents, netting, obligations, version_1
from settlement.ledger.rules.context import Rule

RULES: dict[type, Rule] = {
    **version_1.RULES,
    settling.Consent: consents.consent,
    settling.RefuseProposal: consents.refuse_proposal,
    settling.ExpireProposal: consents.expire_proposal,
    settling.ProposeInvoice: obligations.propose_invoice,
    settling.Pay: obligations.pay,
    settling.ProposeCycle: netting.propose_cycle,
    settling.ProposeDeal: deals.propose_deal,
    settling.SettleDeal: deals.settle_deal,
    settling.RecordDocument: documents.record_document,
    settling.AttestReserves: documents.attest_reserves,
    settling.RaiseDispute: disputes.raise_dispute,
    settling.AcceptDispute: disputes.accept_dispute,
    settling.RejectDispute: disputes.reject_dispute,
    settling.EscalateDispute: disputes.escalate_dispute,
    settling.DecideDispute: disputes.decide_dispute,
    settling.WithdrawDispute: disputes.withdraw_dispute,
    settling.ExpireDispute: disputes.expire_dispute,
}
