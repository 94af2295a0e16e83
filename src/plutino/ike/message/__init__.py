"""Messages of IKEv2: header, chain of payloads, protection and fragments."""
