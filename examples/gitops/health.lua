-- Health of an Artifact, a ProviderConfig or a ClusterProviderConfig for Argo CD, by the
-- rules of kstatus: a status says something only of the generation that it has observed,
-- and Stalled is what waits for a person. argocd-cm.yaml embeds this.
local health = { status = "Progressing", message = "Waiting for the provider" }
local conditions = {}
local observed = false
if obj.status ~= nil then
  observed = obj.status.observedGeneration == obj.metadata.generation
  for _, c in ipairs(obj.status.conditions or {}) do
    conditions[c.type] = c
  end
end

local function because(c)
  if c.message == nil or c.message == "" then
    return c.reason
  end
  return c.reason .. ": " .. c.message
end

local ready, stalled, synced = conditions.Ready, conditions.Stalled, conditions.Synced
if synced ~= nil and synced.reason == "ReconcilePaused" then
  health = { status = "Suspended", message = "Reconciliation is paused" }
elseif observed and stalled ~= nil and stalled.status == "True" then
  health = { status = "Degraded", message = because(stalled) }
elseif observed and ready ~= nil and ready.status == "True" then
  health = { status = "Healthy", message = ready.message or "" }
elseif observed and ready ~= nil then
  health.message = because(ready)
elseif synced ~= nil and synced.status == "False" then
  health.message = synced.message or health.message
end
return health
