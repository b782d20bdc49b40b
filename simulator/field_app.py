"""The field over loopback HTTP: how operator nodes, each its own process, reach phones and visited networks.

`create_field_app(field, networks=…)` gives a Litestar application; `serve_field(app, host, port)` serves it in the running
event loop, beside the `Field` whose phones and networks live in the same process. All bodies are JSON; all binary
values are hex strings; errors are RFC 9457 `application/problem+json` with `type` (`about:blank#CODE`), `title`,
`status`, `detail` and `code`. `{plmn}` is MCC and MNC in 5 or 6 digits without a dash, e.g. `26201`.

Carrier of the home operator's OTA platform (bearer: the field's `carrier_secret`):

    POST /sms/{iccid}
    Authorization: Bearer <carrier secret>
    {"tpdus": ["400881214365877ff6…", …]}           SMS-DELIVER TPDUs (TS 23.040), as many as the packet has parts, in order
    200 {"responses": ["027100…", "", …],           one a TPDU: TP-UD of the delivery report (TS 31.115 §4.3: `02 71 00`, then the
                                                    response packet) or "" where the card said nothing (all parts but the last)
         "submitted": ["…", …]}                     SMS-SUBMIT TPDUs the card itself sent while it handled them (PoR in submit)
    401 code unauthorized
    404 code unknown-iccid                          no phone holds that card
    409 code absent-subscriber                      the phone is off or registered nowhere: send *the same bytes* again later
    502 code card-refused                           the card answered an ENVELOPE with an error status word; detail names it

HLR of a visited network (bearer: that network's own `secret`); 404 code `unknown-network` or `unknown-imsi`, 401 as above:

    PUT /networks/{plmn}/subscribers/{imsi}
    {"k": "32 hex digits", "opc": "32 hex digits", "msisdn": "digits", "algorithm": "milenage"}
    204                                             provisioned; the same body again is 204 too
    409 code imsi-in-use                            that IMSI exists with another K or OPc
    422 code invalid-subscriber                     detail says which value and why

    POST /networks/{plmn}/subscribers/{imsi}/bar    no body
    204                                             barred: the phone is cut off at once and "roaming not allowed" (cause 13) from then on

    DELETE /networks/{plmn}/subscribers/{imsi}
    204                                             gone, its K with it; also when it was not there

    GET /networks/{plmn}/subscribers/{imsi}
    200 {"imsi": "…", "msisdn": "…", "barred": false, "registered_at_ms": 1767225600000 | null}      never a key

First registration of an IMSI in a network is told to the node that owns the network, once, at the webhook URL configured for
it (Standard Webhooks signature with the network's `webhook_secret`, the raw bytes of a UTF-8 string):

    POST <webhook url>
    content-type: application/json
    webhook-id: <network plmn>-<imsi>-<time_ms>     the same in each retry
    webhook-timestamp: <seconds since the epoch>
    webhook-signature: v1,<base64 of HMAC-SHA256(secret, id + "." + timestamp + "." + body)>
    {"imsi": "262011234567890", "plmn": "26201", "time_ms": 1767225600000}
    2xx ends it; anything else is tried again with growing pauses (`WEBHOOK_PAUSES_S`).
"""
