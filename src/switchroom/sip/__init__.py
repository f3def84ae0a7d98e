"""The SIP protocol without I/O: bytes and clock readings in, bytes and events out.

Standard library only; nothing here opens a socket, reads a clock or draws a random number.  From the bottom up:

- text: `grammar`, `host`, `uri`, `headers` (typed values and their registry), `plain_form` (the usual form, told by one
  regex), `status`, `limits`, `errors`
- messages: `message`, `header_lines`, `framing` (streams), `multipart` (bodies of several parts)
- transactions: `flow`, `timers`, `timer_queue`, `transaction` (the four tables), `matching`, `layer` and `layer_events`
- what a driver carries out for a transaction user: `orders`, `identifiers`, `locating` and `failover` (RFC 3263)
- a user agent: `user_agent` with its `user_agent_settings`, `client_request`, `merged_requests`, `dialog`
- its sessions: `session` (`session_client`, `session_server`, `session_events`, `session_host`,
  `invite_dialog`, `clock`), and one small table for each concern of theirs:
  `session_table`, `offer_exchange`, `reliable_provisional`, `success_response`, `session_timer`, `modification`
- what it may host besides: `registration`, `event` and `notifier`, `refer`, `publication`, all on `client_usage`
- authentication: `digest` (who proves), `digest_server` (who asks)
- a proxy: `forking` (the response context of RFC 3261 §16.7)
"""
