"""A transfer batch of every kind of event, for tests: small, correct, and easy to make wrong."""

from typing import Any

Fields = dict[str, Any]
IMSI = "262011234567890"


def price(charge: int, units: int = 1, tax: int = 0) -> Fields:
    info: Fields = {
        "chargedItem": "D",
        "exchangeRateCode": 0,
        "callTypeGroup": {"callTypeLevel1": 1, "callTypeLevel2": 0, "callTypeLevel3": 0},
        "chargeDetailList": [{"chargeType": "00", "charge": charge, "chargeableUnits": units, "chargedUnits": units}],
    }
    if tax:
        info["taxInformation"] = [{"taxCode": 1, "taxValue": tax, "taxableAmount": charge}]
    return info


def moment(second: int = 0) -> Fields:
    return {"localTimeStamp": f"202611011200{second:02d}", "utcTimeOffsetCode": 0}


def caller() -> Fields:
    return {"simChargeableSubscriber": {"imsi": IMSI, "msisdn": "4915112345678"}}


def place(reference: str = "0a0b") -> Fields:
    return {
        "networkLocation": {"recEntityCode": 1, "callReference": reference, "locationArea": 17, "cellId": 4711},
        "geographicalLocation": {"servingNetwork": "RUS01"},
    }


def call(second: int = 0, seconds: int = 61, *, service: str = "11", cause: int = 0, reference: str = "0a0b") -> Fields:
    return {
        "mobileOriginatedCall": {
            "basicCallInformation": {
                "chargeableSubscriber": caller(),
                "destination": {"calledNumber": "74951234567", "dialledDigits": "84951234567"},
                "callEventStartTimeStamp": moment(second),
                "totalCallEventDuration": seconds,
                "causeForTerm": cause,
            },
            "locationInformation": place(reference),
            "equipmentIdentifier": {"imei": "351234567890120"},
            "basicServiceUsedList": [
                {
                    "basicService": {"serviceCode": {"teleServiceCode": service}},
                    "chargingTimeStamp": moment(second),
                    "chargeInformationList": [price(1000, seconds, tax=200)],
                }
            ],
        }
    }


def session(second: int = 0, octets: int = 1_000_000) -> Fields:
    return {
        "gprsCall": {
            "gprsBasicCallInformation": {
                "gprsChargeableSubscriber": {"chargeableSubscriber": caller(), "pdpAddress": "10.0.0.1"},
                "gprsDestination": {"accessPointNameNI": "internet", "accessPointNameOI": "mnc001.mcc262.gprs"},
                "callEventStartTimeStamp": moment(second),
                "totalCallEventDuration": 600,
                "chargingId": 77,
            },
            "gprsLocationInformation": {
                "gprsNetworkLocation": {"recEntity": [1], "cellId": 4711},
                "geographicalLocation": {"servingNetwork": "RUS01"},
            },
            "gprsServiceUsed": {
                "dataVolumeIncoming": octets,
                "dataVolumeOutgoing": 1024,
                "chargeInformationList": [price(3000, octets)],
            },
        }
    }


def supplementary() -> Fields:
    return {
        "supplServiceEvent": {
            "chargeableSubscriber": caller(),
            "locationInformation": place(),
            "supplServiceUsed": {
                "supplServiceCode": "21",
                "supplServiceActionCode": 0,
                "chargingTimeStamp": moment(),
                "chargeInformation": price(5),
                "basicServiceCodeList": [{"teleServiceCode": "11"}, {"bearerServiceCode": "20"}],
            },
        }
    }


def content() -> Fields:
    return {
        "contentTransaction": {
            "contentTransactionBasicInfo": {"orderPlacedTimeStamp": moment()},
            "chargedPartyInformation": {
                "chargedPartyIdList": [{"chargedPartyIdType": 1, "chargedPartyIdentifier": IMSI}]
            },
            "contentServiceUsed": [
                {"contentTransactionCode": 1, "totalDataVolume": 9, "chargeInformationList": [price(70)]},
                {"chargeRefundIndicator": 1, "chargeInformationList": [price(30)]},
            ],
        }
    }


def message_event() -> Fields:
    return {
        "messagingEvent": {
            "chargedParty": {"imsi": IMSI},
            "recEntityCodeList": [1],
            "networkElementList": [{"elementType": 1, "elementId": "smsc"}],
            "serviceStartTimestamp": moment(),
            "exchangeRateCode": 0,
            "charge": 11,
        }
    }


def voice_session() -> Fields:
    return {
        "mobileSession": {
            "chargedParty": {"imsi": IMSI},
            "recEntityCodeList": [1],
            "serviceStartTimestamp": moment(),
            "totalCallEventDuration": 30,
            "requestedDestination": {"requestedNumber": "74951234567"},
            "sessionChargeInfoList": [
                {"chargedItem": "D", "chargeDetailList": [{"chargeType": "00", "charge": 13, "chargedUnits": 30}]}
            ],
        }
    }


def location() -> Fields:
    return {
        "locationService": {
            "recEntityCode": 1,
            "trackedCustomerInformation": {
                "trackedCustomerIdList": [{"customerIdType": 1, "customerIdentifier": IMSI}]
            },
            "locationServiceUsage": {"chargingTimeStamp": moment(), "chargeInformationList": [price(17)]},
        }
    }


def service_centre() -> Fields:
    return {
        "serviceCentreUsage": {
            "basicInformation": {"chargeableSubscriber": {"gsmChargeableSubscriber": {"imsi": IMSI}}},
            "recEntityCode": 1,
            "chargeInformation": price(19),
            "scuTimeStamps": {"depositTimeStamp": moment()},
        }
    }


def terminated() -> Fields:
    [(_, body)] = call(9).items()
    del body["basicCallInformation"]["destination"]
    body["basicCallInformation"]["callOriginator"] = {"callingNumber": "49891234"}
    body["camelServiceUsed"] = {"camelServiceLevel": 1, "camelInvocationFee": 23}
    return {"mobileTerminatedCall": body}


def one_of_each() -> list[Fields]:
    return [
        call(),
        terminated(),
        call(1, service="22", reference="0c"),
        session(2),
        supplementary(),
        content(),
        message_event(),
        voice_session(),
        location(),
        service_centre(),
    ]


def long_moment() -> Fields:
    return {"localTimeStamp": "20261102000000", "utcTimeOffset": "+0300"}


def header(sequence: str = "00001") -> Fields:
    return {
        "batchControlInfo": {
            "sender": "RUS01",
            "recipient": "DEUD1",
            "fileSequenceNumber": sequence,
            "fileCreationTimeStamp": long_moment(),
            "transferCutOffTimeStamp": long_moment(),
            "fileAvailableTimeStamp": long_moment(),
            "specificationVersionNumber": 3,
            "releaseVersionNumber": 12,
        },
        "accountingInfo": {
            "taxation": [{"taxCode": 1, "taxType": "13", "taxRate": "2000000"}],
            "discounting": [{"discountCode": 1, "discountApplied": {"discountRate": 500}}],
            "localCurrency": "RUB",
            "tapCurrency": "SDR",
            "currencyConversionInfo": [{"exchangeRateCode": 0, "numberOfDecimalPlaces": 2, "exchangeRate": 10935}],
            "tapDecimalPlaces": 3,
        },
        "networkInfo": {
            "utcTimeOffsetInfo": [{"utcTimeOffsetCode": 0, "utcTimeOffset": "+0300"}],
            "recEntityInfo": [{"recEntityCode": 1, "recEntityType": 1, "recEntityId": "79000000001"}],
        },
        "messageDescriptionInfo": [{"messageDescriptionCode": 1, "messageDescription": "weather"}],
    }
