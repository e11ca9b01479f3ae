-- The health of DaskCluster, DaskWorkerGroup, DaskJob and DaskAutoscaler for Argo CD, by their conditions.
local health = { status = "Progressing", message = "The operator has not looked at it yet" }
local status = obj.status
if status == nil or status.conditions == nil then
  return health
end
if status.observedGeneration ~= nil and status.observedGeneration ~= obj.metadata.generation then
  return health
end
local found = {}
for _, condition in ipairs(status.conditions) do
  found[condition.type] = condition
end
local function holds(name)
  return found[name] ~= nil and found[name].status == "True"
end
if found.Ready ~= nil then
  health.message = found.Ready.message
end
if holds("Failed") then
  health.status, health.message = "Degraded", found.Failed.message
elseif holds("Complete") then
  health.status, health.message = "Healthy", found.Complete.message
elseif holds("Suspended") then
  health.status, health.message = "Suspended", found.Suspended.message
elseif holds("Stalled") then
  health.status, health.message = "Degraded", found.Stalled.message
elseif holds("Ready") then
  health.status = "Healthy"
end
return health
