"""The account report of a card (`ota.scp80.report`) as the SMS-SUBMIT it leaves in."""

from __future__ import annotations

from ota.scp80.parameters import ScpError
from ota.scp80.report import AccountReport, encode_report
from ota.scp80.sms import SmsSubmit, encode_submit
from simcard.uicc.key_management import OtaKeys
from simcard.uicc.multi_account import MultiAccount

# A message to a platform, not to a SIM: no data download PID, 8-bit data of no class.
PID_NONE, DCS_8BIT = 0x00, 0x04


def compose_report(application: MultiAccount, iccid: str, keys: dict[int, OtaKeys]) -> bytes | None:
    """SMS-SUBMIT of a new report under the key set of the lowest index; None without keys or a number to send to.

    Counts the report: the caller stores the accounts before the message leaves the card.
    """
    accounts = application.accounts
    if not accounts.report_to or not keys:
        return None
    profile = application.active.profile
    report = AccountReport(
        iccid=iccid,
        slot=accounts.enabled,
        plmn=profile.plmn,
        fingerprint=application.mark(accounts.enabled),
        smsc=profile.smsc,
        msisdn=profile.msisdn,
        counter=accounts.reports + 1,
    )
    try:
        data = encode_report(report, keys[min(keys)].keys)
        tpdu = encode_submit(
            SmsSubmit(destination=accounts.report_to, user_data=data, udhi=False, pid=PID_NONE, dcs=DCS_8BIT)
        )
    except ScpError:
        return None
    accounts.reports += 1
    return tpdu
