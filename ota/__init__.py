"""OTA: sealed mobile profiles and their delivery to cards by secured SMS (ETSI TS 102 225, 3GPP TS 31.115)."""
