"""Rules, version 1: which message is decided by which rule."""

from settlement.ledger import messages
from settlement.ledger.rules import identity, offers, requests, treasury, usage
from settlement.ledger.rules.context import Rule

RULES: dict[type, Rule] = {
    messages.Admit: identity.admit,
    messages.AddKey: identity.add_key,
    messages.RevokeKey: identity.revoke_key,
    messages.Recover: identity.recover,
    messages.Mint: treasury.mint,
    messages.Redeem: treasury.redeem,
    messages.Redeemed: treasury.redeemed,
    messages.RefuseRedemption: treasury.refuse_redemption,
    messages.PublishOffer: offers.publish_offer,
    messages.WithdrawOffer: offers.withdraw_offer,
    messages.RequestBids: offers.request_bids,
    messages.WithdrawBids: offers.withdraw_bids,
    messages.PlaceRequest: requests.place_request,
    messages.CancelRequest: requests.cancel_request,
    messages.DeclineRequest: requests.decline_request,
    messages.AcceptRequest: requests.accept_request,
    messages.ExpireRequest: requests.expire_request,
    messages.DeliverRequest: requests.deliver_request,
    messages.ActivateRequest: requests.activate_request,
    messages.ReportUsage: usage.report_usage,
    messages.CloseRequest: requests.close_request,
}
