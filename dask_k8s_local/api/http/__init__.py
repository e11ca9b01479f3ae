"""Requests and answers: what is asked for, in which form, and lists, watches and objects as bytes."""
