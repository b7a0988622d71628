"""guard.py, with less patience for who does not log in again."""

from guard import auth as auth

from threadmill.api import sockets

sockets.LOGIN_S = 1.0
