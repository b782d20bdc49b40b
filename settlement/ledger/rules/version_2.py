"""Rules, version 2: version 1, and proposals, obligations and what follows from them."""

from settlement.ledger import settling
from settlement.ledger.rules import consents, netting, obligations, version_1
from settlement.ledger.rules.context import Rule

RULES: dict[type, Rule] = {
    **version_1.RULES,
    settling.Consent: consents.consent,
    settling.RefuseProposal: consents.refuse_proposal,
    settling.ExpireProposal: consents.expire_proposal,
    settling.ProposeInvoice: obligations.propose_invoice,
    settling.Pay: obligations.pay,
    settling.ProposeCycle: netting.propose_cycle,
}
