{{- /* What can't be meant, or can't work, with its remedy. Types and misspelt keys are those of values.schema.json. */ -}}
{{- define "dask-kubernetes-operator.validate" -}}
{{- if and .Values.rbac.create (not .Values.rbac.cluster) (include "dask-kubernetes-operator.isClusterWide" .) }}
{{- fail (printf "rbac.cluster=false gives rights in single namespaces, but kopfArgs asks for all, or for a pattern of names (%s): add --set kopfArgs='{--namespace=%s}', or leave rbac.cluster=true" (join " " .Values.kopfArgs) .Release.Namespace) }}
{{- end }}
{{- if and (gt (int .Values.replicas) 1) (not .Values.leaderElection.enabled) }}
{{- fail (printf "replicas is %d, but leaderElection.enabled is false: several operators that all act would disturb each other; set leaderElection.enabled=true" (int .Values.replicas)) }}
{{- end }}
{{- if and .Values.metrics.scheduler.serviceMonitor.enabled (not .Values.metrics.scheduler.enabled) }}
{{- fail "metrics.scheduler.serviceMonitor.enabled is true, but metrics.scheduler.enabled is false: set both" }}
{{- end }}
{{- if and (or .Values.metrics.worker.podMonitor.enabled .Values.metrics.worker.serviceMonitor.enabled) (not .Values.metrics.worker.enabled) }}
{{- fail "metrics.worker.podMonitor.enabled is true, but metrics.worker.enabled is false: set both" }}
{{- end }}
{{- include "dask-kubernetes-operator.validateKeys" . }}
{{- include "dask-kubernetes-operator.validateImage" .Values.image.name }}
{{- range $key := list "nameOverride" "fullnameOverride" }}
{{- $name := default "" (index $.Values $key) }}
{{- if not (regexMatch "^([a-z0-9]([-a-z0-9]*[a-z0-9])?)?$" $name) }}
{{- fail (printf "%s is %s: a name has lower-case letters, digits and -, such as dask-operator" $key $name) }}
{{- end }}
{{- end }}
{{- include "dask-kubernetes-operator.validateArguments" . }}
{{- include "dask-kubernetes-operator.validateBudget" . }}
{{- include "dask-kubernetes-operator.validateResources" (default dict .Values.resources) }}
{{- include "dask-kubernetes-operator.validatePod" . }}
{{- range ((.Values.networkPolicy).apiServer).cidrs }}
{{- if not (regexMatch "^[0-9a-fA-F.:]+/[0-9]+$" .) }}
{{- fail (printf "networkPolicy.apiServer.cidrs has %s: write an address with the length of its prefix, such as 10.0.0.1/32" .) }}
{{- end }}
{{- end }}
{{- range $path := list "operator.podMonitor" "scheduler.serviceMonitor" "worker.podMonitor" }}
{{- $part := splitList "." $path }}
{{- $interval := dig (first $part) (last $part) "interval" "" $.Values.metrics }}
{{- if and $interval (not (regexMatch "^([0-9]+(ms|s|m|h|d))+$" $interval)) }}
{{- fail (printf "metrics.%s.interval is %q: write a number with its unit, such as 15s or 1m" $path $interval) }}
{{- end }}
{{- end }}
{{- end }}

{{- /* Keys that other charts have; the schema knows them, too, so that it doesn't refuse them first. */ -}}
{{- define "dask-kubernetes-operator.validateKeys" -}}
{{- range $key, $ours := dict "args" "kopfArgs" "commonLabels" "labels" "deploymentAnnotations" "annotations" "env" "extraEnv" "extraArgs" "kopfArgs" "extraVolumeMounts" "volumeMounts" "extraVolumes" "volumes" "installCRDs" "crds.enabled" "replicaCount" "replicas" }}
{{- if hasKey $.Values $key }}
{{- fail (printf "%s is no value of this chart: say %s" $key $ours) }}
{{- end }}
{{- end }}
{{- range $key, $ours := dict "digest" "image.tag=sha256:…" "registry" "image.name, with the registry before it" "repository" "image.name" }}
{{- if hasKey (default dict $.Values.image) $key }}
{{- fail (printf "image.%s is no value of this chart: say %s" $key $ours) }}
{{- end }}
{{- end }}
{{- end }}

{{- define "dask-kubernetes-operator.validateImage" -}}
{{- if not (regexMatch "^([^/@]+/)*[^/:@]+$" .) }}
{{- $name := regexReplaceAll "(@.*|:[^/]*)$" . "" }}
{{- $tag := trimPrefix $name . | trimAll ":@" }}
{{- fail (printf "image.name is %q: write the image without its tag, such as image.name=%s and image.tag=%s" . (default "registry.example.com/dask-kubernetes-operator" $name) (default "mine" $tag)) }}
{{- end }}
{{- end }}

{{- define "dask-kubernetes-operator.validateArguments" -}}
{{- range .Values.kopfArgs }}
{{- if not (regexMatch "^\\S+$" .) }}
{{- fail (printf "kopfArgs has %q: each item is one argument without blanks, such as --namespace=team-a" .) }}
{{- end }}
{{- end }}
{{- $namespaces := include "dask-kubernetes-operator.namespaces" . | fromJsonArray }}
{{- if or (has "" $namespaces) (has (last (default list .Values.kopfArgs)) (list "-n" "--namespace")) }}
{{- fail (printf "kopfArgs is %s: a namespace has no name; say --namespace=team-a, or --all-namespaces" (join " " .Values.kopfArgs)) }}
{{- end }}
{{- end }}

{{- /* A budget must let at least one replica go: Kubernetes rounds percentages up. */ -}}
{{- define "dask-kubernetes-operator.validateBudget" -}}
{{- $replicas := int .Values.replicas }}
{{- range $key := list "minAvailable" "maxUnavailable" }}
{{- $given := index (default dict $.Values.podDisruptionBudget) $key }}
{{- if not (kindIs "invalid" $given) }}
{{- if not (regexMatch "^[0-9]+%?$" (toString $given)) }}
{{- fail (printf "podDisruptionBudget.%s is %v: write a number such as 1, or a percentage such as 50%%" $key $given) }}
{{- end }}
{{- end }}
{{- end }}
{{- with .Values.podDisruptionBudget }}
{{- if and .enabled (gt $replicas 1) }}
{{- $isMin := kindIs "invalid" .maxUnavailable }}
{{- $given := $isMin | ternary .minAvailable .maxUnavailable | toString }}
{{- $number := trimSuffix "%" $given | atoi }}
{{- $count := hasSuffix "%" $given | ternary (div (add (mul $replicas $number) 99) 100) $number | int }}
{{- if and $isMin (ge $count $replicas) }}
{{- fail (printf "podDisruptionBudget.minAvailable is %s, and replicas is %d: no node with one could be drained; say less, or raise replicas" $given $replicas) }}
{{- else if and (not $isMin) (eq $count 0) }}
{{- fail (printf "podDisruptionBudget.maxUnavailable is %s: no node with a replica could be drained; say 1" $given) }}
{{- end }}
{{- end }}
{{- end }}
{{- end }}

{{- define "dask-kubernetes-operator.validateResources" -}}
{{- range $kind := list "requests" "limits" }}
{{- range $name, $quantity := index $ $kind }}
{{- if and (kindIs "string" $quantity) (not (regexMatch "^[0-9]+(\\.[0-9]+)?(m|k|M|G|T|P|E|Ki|Mi|Gi|Ti|Pi|Ei|e[0-9]+)?$" $quantity)) }}
{{- $number := regexFind "^[0-9]+(\\.[0-9]+)?" $quantity }}
{{- $unit := regexFind "[KMGTPE]" (upper $quantity) }}
{{- $remedy := "write a number with a unit of Kubernetes, such as 512Mi" }}
{{- if eq $name "cpu" }}
{{- $remedy = "write a number of CPUs, such as 2 or 500m" }}
{{- else if and $number $unit }}
{{- $remedy = printf "write %s%s or %s%si" $number (eq $unit "K" | ternary "k" $unit) $number $unit }}
{{- end }}
{{- fail (printf "resources.%s.%s is %s: %s" $kind $name $quantity $remedy) }}
{{- end }}
{{- end }}
{{- end }}
{{- end }}

{{- /* What the operator's pods have already. */ -}}
{{- define "dask-kubernetes-operator.validatePod" -}}
{{- range .Values.volumes }}
{{- if eq "tmp" (get . "name") }}
{{- fail "volumes has one named tmp, as the operator's own for /tmp: give it another name" }}
{{- end }}
{{- end }}
{{- range .Values.volumeMounts }}
{{- if eq "/tmp" (get . "mountPath" | trimSuffix "/") }}
{{- fail (printf "volumeMounts mounts %s at /tmp, where the operator has a volume of its own: choose another mountPath" (get . "name")) }}
{{- end }}
{{- end }}
{{- range .Values.extraEnv }}
{{- $setting := upper .name }}
{{- if eq "DASK_KUBERNETES__CONTROLLER__HEALTH_PORT" $setting }}
{{- fail (printf "extraEnv sets %s, but probes, monitors and the NetworkPolicy rely on port 8080: leave it out" .name) }}
{{- else if eq "DASK_KUBERNETES__CONTROLLER__LEADER_ELECTION__ENABLED" $setting }}
{{- fail (printf "extraEnv sets %s, which is the chart's to set: say leaderElection.enabled" .name) }}
{{- else if eq "DASK_KUBERNETES__CONTROLLER__LEADER_ELECTION__NAME" $setting }}
{{- fail (printf "extraEnv sets %s, but the operator's Role names the Lease: say fullnameOverride" .name) }}
{{- end }}
{{- end }}
{{- end }}
