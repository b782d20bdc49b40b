"""SCP80: secured packets (ETSI TS 102 225, 3GPP TS 31.115), remote commands (TS 102 226), SMS carriage (TS 23.040)."""
