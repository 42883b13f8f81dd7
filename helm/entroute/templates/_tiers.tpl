{{/*
Tiers in their order: {items: [{name, kind: tier|embedding, object, rank, settings, vllm | external}]}
as YAML. `kind` is "tier" for .Values.tiers and "embedding" for .Values.embeddings; `object` is the name of
the tier's Kubernetes objects; what values leave out is filled in from files/tier-defaults.yaml.
Arguments: (dict "root" $ "kind" "tier").
*/}}
{{- define "entroute.tiers" -}}
{{- $root := .root -}}
{{- $kind := .kind -}}
{{- $key := ternary "tiers" "embeddings" (eq $kind "tier") -}}
{{- $defaults := $root.Files.Get "files/tier-defaults.yaml" | fromYaml -}}
{{- $byRank := dict -}}
{{- range $name, $tier := index $root.Values $key -}}
  {{- $rank := printf "%09d" (int $tier.rank) -}}
  {{- if hasKey $byRank $rank -}}
    {{- fail (printf "%s: %s and %s both have rank %d; give every one its own, cheapest first" $key (index $byRank $rank).name $name (int $tier.rank)) -}}
  {{- end -}}
  {{- $sources := 0 -}}
  {{- range $source := list "vllm" "external" -}}
    {{- if index $tier $source -}}{{- $sources = add $sources 1 -}}{{- end -}}
  {{- end -}}
  {{- if ne (int $sources) 1 -}}
    {{- fail (printf "%s.%s: give exactly one of vllm (run by this chart) and external (workers that run elsewhere)" $key $name) -}}
  {{- end -}}
  {{- $entry := dict "name" $name "kind" $kind "rank" (int $tier.rank) "settings" ($tier.settings | default dict) -}}
  {{- $_ := set $entry "object" (include "entroute.objectName" (dict "root" $root "suffix" (printf "%s-%s" $kind $name))) -}}
  {{- range $source := list "vllm" "external" -}}
    {{- with index $tier $source -}}
      {{- $_ := set $entry $source (mergeOverwrite (deepCopy (index $defaults $source)) .) -}}
    {{- end -}}
  {{- end -}}
  {{- $_ := set $byRank $rank $entry -}}
{{- end -}}
{{- $items := list -}}
{{- range $rank := keys $byRank | sortAlpha -}}
  {{- $items = append $items (index $byRank $rank) -}}
{{- end -}}
{{- dict "items" $items | toYaml -}}
{{- end -}}

{{/* All tiers that this chart runs vLLM for, both kinds: {items: [...]} as of entroute.tiers. */}}
{{- define "entroute.ownTiers" -}}
{{- $items := list -}}
{{- range $kind := list "tier" "embedding" -}}
  {{- range (include "entroute.tiers" (dict "root" $ "kind" $kind) | fromYaml).items -}}
    {{- if .vllm -}}{{- $items = append $items . -}}{{- end -}}
  {{- end -}}
{{- end -}}
{{- dict "items" $items | toYaml -}}
{{- end -}}

{{/* Selector labels of a tier's pods: (dict "root" $ "tier" ITEM), an item of entroute.tiers. */}}
{{- define "entroute.tierSelectorLabels" -}}
{{- include "entroute.selectorLabels" (dict "root" .root "component" .tier.kind "tier" .tier.name) -}}
{{- end -}}

{{/* All labels of a tier's objects: (dict "root" $ "tier" ITEM). */}}
{{- define "entroute.tierLabels" -}}
{{- include "entroute.labels" (dict "root" .root "component" .tier.kind "tier" .tier.name) -}}
{{- end -}}

{{/* Where the gateway finds the workers of a tier, as the service's settings say it:
(dict "root" $ "tier" ITEM). */}}
{{- define "entroute.workers" -}}
{{- $root := .root -}}
{{- $tier := .tier -}}
{{- if $tier.external -}}
  {{- $external := $tier.external -}}
  {{- if $external.discover -}}
discover: {{- toYaml $external.discover | nindent 2 }}
  {{- else -}}
workers:
{{- range $external.urls }}
- url: {{ . | quote }}
{{- end }}
  {{- end -}}
{{- else if eq $root.Values.discovery "kubernetes" -}}
discover:
  kind: kubernetes
  service: {{ $tier.object }}
  namespace: {{ $root.Release.Namespace }}
  port: http
{{- else -}}
discover:
  kind: dns
  host: {{ $tier.object }}.{{ $root.Release.Namespace }}.svc.{{ $root.Values.clusterDomain }}
  port: 8000
{{- end -}}
{{- end -}}

{{/* Namespaces whose EndpointSlices the gateway watches: {namespaces: [...]}. */}}
{{- define "entroute.watched" -}}
{{- $found := list -}}
{{- if eq .Values.discovery "kubernetes" -}}{{- $found = append $found .Release.Namespace -}}{{- end -}}
{{- range $key := list "tiers" "embeddings" -}}
  {{- range $name, $tier := index $.Values $key -}}
    {{- $discover := dig "discover" dict ($tier.external | default dict) -}}
    {{- if eq (dig "kind" "" $discover) "kubernetes" -}}
      {{- $found = append $found ($discover.namespace | default $.Release.Namespace) -}}
    {{- end -}}
  {{- end -}}
{{- end -}}
{{- dict "namespaces" ($found | uniq | sortAlpha) | toYaml -}}
{{- end -}}
