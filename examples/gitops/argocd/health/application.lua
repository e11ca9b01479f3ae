-- The health of an Application for the one that makes it: what Argo CD found of its objects, so that waves wait for each other.
local found = obj.status and obj.status.health or {}
return { status = found.status or "Progressing", message = found.message or "Argo CD has not looked at it yet" }
