{{/*
The objects themselves are in deploy and config, where the links in files/ lead to. Templates read them and change what the values say, so that there is one text of each.
*/}}

{{/* MetalLB's, so that objects and selectors of a release of its chart are found again. */}}
{{- define "ferrolb.name" -}}
{{- default "metallb" .Values.nameOverride | trunc 63 | trimSuffix "-" -}}
{{- end -}}

{{- define "ferrolb.fullname" -}}
{{- $name := include "ferrolb.name" . -}}
{{- $full := ternary .Release.Name (printf "%s-%s" .Release.Name $name) (contains $name .Release.Name) -}}
{{- default $full .Values.fullnameOverride | trunc 63 | trimSuffix "-" -}}
{{- end -}}

{{/* As a dictionary: what selects pods of a component. */}}
{{- define "ferrolb.selector" -}}
app.kubernetes.io/name: {{ include "ferrolb.name" .root }}
app.kubernetes.io/instance: {{ .root.Release.Name }}
app.kubernetes.io/component: {{ .component }}
{{- end -}}

{{- define "ferrolb.labels" -}}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version | replace "+" "_" }}
app.kubernetes.io/name: {{ include "ferrolb.name" . }}
app.kubernetes.io/instance: {{ .Release.Name }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
{{- end -}}

{{/* The account of a component. */}}
{{- define "ferrolb.account" -}}
{{- $account := (index .root.Values .component).serviceAccount -}}
{{- if $account.create -}}
{{- default (printf "%s-%s" (include "ferrolb.fullname" .root) .component) $account.name -}}
{{- else -}}
{{- default "default" $account.name -}}
{{- end -}}
{{- end -}}

{{/* What an object of the files is called in this release: `metallb-webhook-cert` and its like are called so everywhere. */}}
{{- define "ferrolb.renamed" -}}
{{- $full := include "ferrolb.fullname" .root -}}
{{- if hasPrefix "metallb-system:" .name -}}
{{ $full }}:{{ trimPrefix "metallb-system:" .name }}
{{- else if hasPrefix "metallb-" .name -}}
{{ .name }}
{{- else -}}
{{ $full }}-{{ .name }}
{{- end -}}
{{- end -}}

{{/* Name, namespace and labels of this release, in place. */}}
{{- define "ferrolb.adopt" -}}
{{- $meta := .object.metadata -}}
{{- $_ := set $meta "name" (include "ferrolb.renamed" (dict "root" .root "name" $meta.name)) -}}
{{- if hasKey $meta "namespace" -}}
{{- $_ := set $meta "namespace" .root.Release.Namespace -}}
{{- end -}}
{{- $_ := set $meta "labels" (include "ferrolb.labels" .root | fromYaml) -}}
{{- with .component -}}
{{- $_ := set $meta.labels "app.kubernetes.io/component" . -}}
{{- end -}}
{{- end -}}

{{/* A component's rights and account, of one file. */}}
{{- define "ferrolb.rights" -}}
{{- $root := .root -}}
{{- range regexSplit "(?m)^---\n" ($root.Files.Get .file) -1 -}}
{{- $object := fromYaml . -}}
{{- $wanted := hasSuffix "rbac.authorization.k8s.io/v1" $object.apiVersion | ternary $root.Values.rbac.create true -}}
{{- if eq $object.kind "ServiceAccount" -}}
{{- $component := $object.metadata.name -}}
{{- $account := (index $root.Values $component).serviceAccount -}}
{{- $wanted = $account.create -}}
{{- include "ferrolb.adopt" (dict "root" $root "object" $object "component" $component) -}}
{{- $_ := set $object.metadata "name" (include "ferrolb.account" (dict "root" $root "component" $component)) -}}
{{- with $account.annotations -}}
{{- $_ := set $object.metadata "annotations" . -}}
{{- end -}}
{{- else -}}
{{- include "ferrolb.adopt" (dict "root" $root "object" $object) -}}
{{- end -}}
{{- with $object.roleRef -}}
{{- $_ := set . "name" (include "ferrolb.renamed" (dict "root" $root "name" .name)) -}}
{{- end -}}
{{- range $object.subjects -}}
{{- $_ := set . "name" (include "ferrolb.account" (dict "root" $root "component" .name)) -}}
{{- $_ := set . "namespace" $root.Release.Namespace -}}
{{- end -}}
{{- if $wanted }}
---
{{ toYaml $object }}
{{- end -}}
{{- end -}}
{{- end -}}

{{/* The image of a component. One of MetalLB's own counts for nothing: its program isn't ours. */}}
{{- define "ferrolb.image" -}}
{{- $own := (index .root.Values .component).image | default dict -}}
{{- $foreign := include "ferrolb.foreignImage" . -}}
{{- $repository := ternary "" $own.repository (ne $foreign "") | default .root.Values.image.repository -}}
{{- $tag := ternary "" $own.tag (ne $foreign "") | default .root.Values.image.tag | default .root.Chart.AppVersion -}}
{{ $repository }}:{{ $tag }}
{{- end -}}

{{/* Not empty where a component's image is MetalLB's. */}}
{{- define "ferrolb.foreignImage" -}}
{{- $own := (index .root.Values .component).image | default dict -}}
{{- if regexMatch "metallb[/-](controller|speaker)$" ($own.repository | default "") -}}
{{ $own.repository }}
{{- else if and (not $own.repository) (regexMatch "^v0\\.[0-9]+\\.[0-9]+" ($own.tag | default "" | toString)) -}}
{{ $own.tag }}
{{- end -}}
{{- end -}}

{{/* A Deployment or DaemonSet, changed in place by the values of its component. */}}
{{- define "ferrolb.workload" -}}
{{- $root := .root -}}
{{- $component := .component -}}
{{- $values := index $root.Values $component -}}
{{- $full := include "ferrolb.fullname" $root -}}
{{- $object := .object -}}
{{- include "ferrolb.adopt" (dict "root" $root "object" $object "component" $component) -}}
{{- $selector := include "ferrolb.selector" . | fromYaml -}}
{{- $_ := set $object.spec.selector "matchLabels" $selector -}}
{{- $template := $object.spec.template -}}
{{- $_ := set $template.metadata "labels" (merge (deepCopy $selector) ($values.labels | default dict)) -}}
{{- $annotations := dict -}}
{{- if $root.Values.prometheus.scrapeAnnotations -}}
{{- $annotations = dict "prometheus.io/scrape" "true" "prometheus.io/scheme" "https" "prometheus.io/port" ($root.Values.prometheus.metricsPort | toString) -}}
{{- end -}}
{{- $annotations = merge $annotations ($values.podAnnotations | default dict) -}}
{{- with $annotations -}}
{{- $_ := set $template.metadata "annotations" . -}}
{{- end -}}
{{- $pod := $template.spec -}}
{{- $_ := set $pod "serviceAccountName" (include "ferrolb.account" .) -}}
{{- with $root.Values.imagePullSecrets -}}
{{- $_ := set $pod "imagePullSecrets" . -}}
{{- end -}}
{{- range $key := list "priorityClassName" "runtimeClassName" "affinity" -}}
{{- with index $values $key -}}
{{- $_ := set $pod $key . -}}
{{- end -}}
{{- end -}}
{{- range $key := list "nodeSelector" "securityContext" -}}
{{- $_ := set $pod $key (mergeOverwrite (index $pod $key | default dict) (index $values $key | default dict)) -}}
{{- end -}}
{{- $tolerations := ternary (list) ($pod.tolerations | default list) (eq (toString $values.tolerateMaster) "false") -}}
{{- $tolerations = concat $tolerations ($values.tolerations | default list) -}}
{{- $_ := unset $pod "tolerations" -}}
{{- with $tolerations -}}
{{- $_ := set $pod "tolerations" . -}}
{{- end -}}
{{- $container := first $pod.containers -}}
{{- $_ := set $container "image" (include "ferrolb.image" .) -}}
{{- with (($values.image | default dict).pullPolicy) | default $root.Values.image.pullPolicy -}}
{{- $_ := set $container "imagePullPolicy" . -}}
{{- end -}}
{{- with $values.resources -}}
{{- $_ := set $container "resources" . -}}
{{- end -}}
{{- /* One port serves both probes, as in MetalLB's chart. */ -}}
{{- $health := (($values.livenessProbe | default dict).port) | default (($values.readinessProbe | default dict).port) -}}
{{- range $key := list "livenessProbe" "readinessProbe" -}}
{{- $probe := index $values $key | default dict -}}
{{- if eq (toString $probe.enabled) "false" -}}
{{- $_ := unset $container $key -}}
{{- else -}}
{{- $there := index $container $key -}}
{{- range $name, $value := omit $probe "enabled" "port" -}}
{{- $_ := set $there $name $value -}}
{{- end -}}
{{- if and $health (ne (toString $there.httpGet.port) "health") -}}
{{- $_ := set $there.httpGet "port" (int $health) -}}
{{- end -}}
{{- end -}}
{{- end -}}
{{- range $container.ports -}}
{{- if eq .name "metricshttps" -}}
{{- $_ := set . "containerPort" (int $root.Values.prometheus.metricsPort) -}}
{{- else if and $health (eq .name "health") -}}
{{- $_ := set . "containerPort" (int $health) -}}
{{- end -}}
{{- end -}}
{{- $set := dict "--port" $root.Values.prometheus.metricsPort "--log-level" ($values.logLevel | default "info") -}}
{{- with $health -}}{{- $_ := set $set "--health-probe-port" . -}}{{- end -}}
{{- with $root.Values.loadBalancerClass -}}{{- $_ := set $set "--lb-class" . -}}{{- end -}}
{{- with $root.Values.tls.minVersion -}}{{- $_ := set $set "--tls-min-version" . -}}{{- end -}}
{{- with $root.Values.tls.cipherSuites -}}{{- $_ := set $set "--tls-cipher-suites" . -}}{{- end -}}
{{- with $root.Values.tls.curvePreferences -}}{{- $_ := set $set "--tls-curve-preferences" . -}}{{- end -}}
{{- if $values.ignoreExcludeLB -}}{{- $_ := set $set "--ignore-exclude-lb" true -}}{{- end -}}
{{- /* A number is read as a fraction, which would be written with an exponent. */ -}}
{{- with $values.gratuitousARPInterval -}}{{- $_ := set $set "--gratuitous-arp-interval" (kindIs "string" . | ternary . (int64 .)) -}}{{- end -}}
{{- with $values.webhookMode -}}{{- if ne . "enabled" -}}{{- $_ := set $set "--webhook-mode" . -}}{{- end -}}{{- end -}}
{{- with index $root.Values.tls (printf "%sMetricsTLSSecret" $component) -}}
{{- $_ := set $set "--metrics-cert-dir" "/etc/metrics" -}}
{{- $_ := set $container "volumeMounts" (append ($container.volumeMounts | default list) (dict "name" "metrics-certs" "mountPath" "/etc/metrics" "readOnly" true)) -}}
{{- $_ := set $pod "volumes" (append ($pod.volumes | default list) (dict "name" "metrics-certs" "secret" (dict "secretName" .))) -}}
{{- end -}}
{{- $args := list -}}
{{- range $argument := $container.args -}}
{{- $flag := first (splitList "=" $argument) -}}
{{- if hasKey $set $flag -}}
{{- $argument = printf "%s=%v" $flag (index $set $flag) -}}
{{- $_ := unset $set $flag -}}
{{- end -}}
{{- $args = append $args $argument -}}
{{- end -}}
{{- range $flag, $value := $set -}}
{{- $args = append $args (printf "%s=%v" $flag $value) -}}
{{- end -}}
{{- $_ := set $container "args" $args -}}
{{- with $values.extraContainers -}}
{{- $_ := set $pod "containers" (concat $pod.containers .) -}}
{{- end -}}
{{- end -}}
