"""Switchroom: a telephone exchange in one Python package.

The rooms (`switchroom.sip`, `switchroom.net`, `switchroom.lab`, ...) are imported by name; importing this
package loads none of them.
"""

__version__ = "0.1.0.dev0"
