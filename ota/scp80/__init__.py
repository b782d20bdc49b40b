"""SCP80: secured packets (ETSI TS 102 225, 3GPP TS 31.115), remote commands (TS 102 226), SMS carriage (TS 23.040).

`packet` protects and verifies, `sms` carries, `remote` codes the commands inside, `parameters` names what an SPI says.
"""

from ota.scp80.packet import (
    Command,
    CommandHeader,
    KeySet,
    MalformedPacket,
    ProofOfReceipt,
    SecurityFailure,
    decode_command,
    decode_response,
    encode_command,
    encode_response,
    peek_command,
)
from ota.scp80.parameters import (
    COUNTER_MAX,
    CipherAlgorithm,
    CounterMode,
    Integrity,
    KeyByte,
    ParameterError,
    Por,
    RedundancyCheck,
    ResponseStatus,
    ScpError,
    Spi,
)

__all__ = [
    "COUNTER_MAX",
    "CipherAlgorithm",
    "Command",
    "CommandHeader",
    "CounterMode",
    "Integrity",
    "KeyByte",
    "KeySet",
    "MalformedPacket",
    "ParameterError",
    "Por",
    "ProofOfReceipt",
    "RedundancyCheck",
    "ResponseStatus",
    "ScpError",
    "SecurityFailure",
    "Spi",
    "decode_command",
    "decode_response",
    "encode_command",
    "encode_response",
    "peek_command",
]
