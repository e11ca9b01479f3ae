{{- define "dask-kubernetes-operator.name" -}}
{{- default .Chart.Name .Values.nameOverride | trunc 63 | trimSuffix "-" }}
{{- end }}

{{- define "dask-kubernetes-operator.fullname" -}}
{{- if .Values.fullnameOverride }}
{{- .Values.fullnameOverride | trunc 63 | trimSuffix "-" }}
{{- else if contains (include "dask-kubernetes-operator.name" .) .Release.Name }}
{{- .Release.Name | trunc 63 | trimSuffix "-" }}
{{- else }}
{{- printf "%s-%s" .Release.Name (include "dask-kubernetes-operator.name" .) | trunc 63 | trimSuffix "-" }}
{{- end }}
{{- end }}

{{- define "dask-kubernetes-operator.selectorLabels" -}}
app.kubernetes.io/name: {{ include "dask-kubernetes-operator.name" . }}
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end }}

{{- define "dask-kubernetes-operator.labels" -}}
{{- $own := include "dask-kubernetes-operator.selectorLabels" . | fromYaml }}
{{- $_ := set $own "app.kubernetes.io/version" .Chart.AppVersion }}
{{- $_ := set $own "app.kubernetes.io/component" "operator" }}
{{- $_ := set $own "app.kubernetes.io/managed-by" .Release.Service }}
{{- $_ := set $own "helm.sh/chart" (printf "%s-%s" .Chart.Name .Chart.Version | replace "+" "_") }}
{{- merge $own .Values.labels | toYaml }}
{{- end }}

{{- define "dask-kubernetes-operator.crdAnnotations" -}}
{{- /* Argo CD: before everything else, and not by a client-side apply, whose annotation would be too long. */ -}}
argocd.argoproj.io/sync-options: ServerSideApply=true
argocd.argoproj.io/sync-wave: "-5"
{{- if .Values.crds.keep }}
helm.sh/resource-policy: keep
{{- end }}
{{- end }}

{{- /*
The other release that has an object of the whole cluster, as "NAME in namespace NAMESPACE": the root, apiVersion, kind, name.
Nothing where there is no cluster to ask (helm template, Argo CD), or where that release has gone, so that Helm says whose it was.
*/ -}}
{{- define "dask-kubernetes-operator.otherOwner" -}}
{{- $root := index . 0 }}
{{- if and $root.Values.crds.enabled $root.Values.crds.shared }}
{{- $annotations := dig "metadata" "annotations" dict (lookup (index . 1) (index . 2) "" (index . 3)) }}
{{- $name := dig "meta.helm.sh/release-name" "" $annotations }}
{{- $namespace := dig "meta.helm.sh/release-namespace" "" $annotations }}
{{- if and $name $namespace (ne (list $name $namespace | join "/") (list $root.Release.Name $root.Release.Namespace | join "/")) }}
{{- range dig "items" list (lookup "apps/v1" "Deployment" $namespace "") | default list }}
  {{- $found := dig "metadata" "labels" dict . }}
  {{- if and (eq $name (dig "app.kubernetes.io/instance" "" $found)) (eq "operator" (dig "app.kubernetes.io/component" "" $found)) }}
    {{- printf "%s in namespace %s" $name $namespace }}
    {{- break }}
  {{- end }}
{{- end }}
{{- end }}
{{- end }}
{{- end }}

{{- define "dask-kubernetes-operator.serviceAccountName" -}}
{{- if .Values.serviceAccount.create }}
{{- default (include "dask-kubernetes-operator.fullname" .) .Values.serviceAccount.name }}
{{- else }}
{{- default "default" .Values.serviceAccount.name }}
{{- end }}
{{- end }}

{{- define "dask-kubernetes-operator.image" -}}
{{- $tag := default .Chart.AppVersion .Values.image.tag }}
{{- printf "%s%s%s" .Values.image.name (hasPrefix "sha256:" $tag | ternary "@" ":") $tag }}
{{- end }}

{{- /* The namespaces that kopfArgs names, as JSON. */ -}}
{{- define "dask-kubernetes-operator.namespaces" -}}
{{- $found := list }}
{{- $takes := false }}
{{- range .Values.kopfArgs }}
  {{- if $takes }}
    {{- $found = append $found . }}
    {{- $takes = false }}
  {{- else if or (eq . "--namespace") (eq . "-n") }}
    {{- $takes = true }}
  {{- else if hasPrefix "--namespace=" . }}
    {{- $found = append $found (trimPrefix "--namespace=" .) }}
  {{- else if and (hasPrefix "-n" .) (ne . "-n") }}
    {{- $found = append $found (trimPrefix "-n" . | trimPrefix "=") }}
  {{- end }}
{{- end }}
{{- $found | uniq | toJson }}
{{- end }}

{{- /* Where the operator watches everything, as kopf does unasked, or namespaces that only a list of all can tell. */ -}}
{{- define "dask-kubernetes-operator.isClusterWide" -}}
{{- $namespaces := include "dask-kubernetes-operator.namespaces" . | fromJsonArray }}
{{- if or (not $namespaces) (has "--all-namespaces" .Values.kopfArgs) (has "-A" .Values.kopfArgs) (regexMatch "[*?!,]" (join " " $namespaces)) }}true{{ end }}
{{- end }}

{{- /* Namespace and labels of what a monitoring system finds by labels of its own: the root and the values. */ -}}
{{- define "dask-kubernetes-operator.monitorMetadata" -}}
{{- $root := index . 0 }}
{{- $values := index . 1 -}}
namespace: {{ default $root.Release.Namespace $values.namespace }}
labels:
  {{- merge (include "dask-kubernetes-operator.labels" $root | fromYaml) (default dict $values.additionalLabels) | toYaml | nindent 2 }}
{{- end }}
