{{/*
The gateway's configuration, gateway.yaml: .Values.config with what the chart knows put in. Secrets are
not in it, see entroute.secretEnv.
*/}}
{{- define "entroute.gatewayConfig" -}}
{{- $config := deepCopy (.Values.config | default dict) -}}
{{- $server := dict "host" .Values.gateway.listen "port" 8080 "drain_delay_s" (int .Values.gateway.drain.delaySeconds) -}}
{{- if .Values.auth.allowUnauthenticated -}}
{{- $_ := set $server "allow_unauthenticated" true -}}
{{- end -}}
{{- $_ := set $config "server" (mergeOverwrite (deepCopy ($config.server | default dict)) $server) -}}
{{- if .Values.auth.existingSecret -}}
{{- $keys := dict "keys_file" (printf "/etc/entroute/keys/%s" .Values.auth.key) -}}
{{- $_ := set $config "auth" (mergeOverwrite (deepCopy ($config.auth | default dict)) $keys) -}}
{{- else if .Values.auth.inRedis -}}
{{- $_ := set $config "auth" (mergeOverwrite (deepCopy ($config.auth | default dict)) (dict "keys" "redis")) -}}
{{- end -}}
{{- if .Values.sandbox.enabled -}}
{{- $url := printf "http://%s:8090" (include "entroute.objectName" (dict "root" . "suffix" "sandbox")) -}}
{{- $_ := set $config "sandbox" (mergeOverwrite (deepCopy ($config.sandbox | default dict)) (dict "kind" "http" "url" $url)) -}}
{{- else if $config.sandbox -}}
{{- $_ := set $config "sandbox" (mergeOverwrite (deepCopy $config.sandbox) (dict "kind" "http")) -}}
{{- end -}}
{{- range $kind, $key := dict "tier" "tiers" "embedding" "embeddings" -}}
  {{- $tiers := list -}}
  {{- range (include "entroute.tiers" (dict "root" $ "kind" $kind) | fromYaml).items -}}
    {{- $workers := include "entroute.workers" (dict "root" $ "tier" .) | fromYaml -}}
    {{- $tiers = append $tiers (merge (dict "name" .name) $workers .settings) -}}
  {{- end -}}
  {{- if $tiers -}}{{- $_ := set $config $key $tiers -}}{{- end -}}
{{- end -}}
{{- toYaml $config -}}
{{- end -}}

{{/* The gateway's secrets, as environment variables that override its configuration. */}}
{{- define "entroute.secretEnv" -}}
{{- $secrets := list -}}
{{- if eq .Values.redis.kind "external" -}}
{{- $secrets = append $secrets (dict "name" "ENTROUTE_REDIS__URL" "from" .Values.redis.external) -}}
{{- end -}}
{{- if .Values.auth.cacheSalt.existingSecret -}}
{{- $secrets = append $secrets (dict "name" "ENTROUTE_AUTH__CACHE_SALT_KEY" "from" .Values.auth.cacheSalt) -}}
{{- end -}}
{{- if .Values.sandbox.enabled -}}
{{- $secrets = append $secrets (dict "name" "ENTROUTE_SANDBOX__API_KEY" "from" .Values.sandbox.key) -}}
{{- end -}}
{{- range $kind, $key := dict "tier" "TIERS" "embedding" "EMBEDDINGS" -}}
  {{- range $place, $tier := (include "entroute.tiers" (dict "root" $ "kind" $kind) | fromYaml).items -}}
    {{- $source := $tier.vllm | default $tier.external -}}
    {{- if and $source.apiKey $source.apiKey.existingSecret -}}
      {{- if $source.urls -}}
        {{- range $worker, $url := $source.urls -}}
          {{- $secrets = append $secrets (dict "name" (printf "ENTROUTE_%s__%d__WORKERS__%d__API_KEY" $key $place $worker) "from" $source.apiKey) -}}
        {{- end -}}
      {{- else -}}
        {{- $secrets = append $secrets (dict "name" (printf "ENTROUTE_%s__%d__DISCOVER__API_KEY" $key $place) "from" $source.apiKey) -}}
      {{- end -}}
    {{- end -}}
  {{- end -}}
{{- end -}}
{{- range $secrets }}
- name: {{ .name }}
  valueFrom:
    secretKeyRef: {name: {{ .from.existingSecret }}, key: {{ .from.key }}}
{{- end }}
{{- if eq .Values.redis.kind "bundled" }}
- name: REDIS_PASSWORD
  valueFrom:
    secretKeyRef: {name: {{ .Values.redis.bundled.password.existingSecret }}, key: {{ .Values.redis.bundled.password.key }}}
- name: ENTROUTE_REDIS__URL
  value: redis://:$(REDIS_PASSWORD)@{{ include "entroute.objectName" (dict "root" . "suffix" "redis") }}:6379/0
{{- end }}
{{- end -}}

{{/* Seconds from SIGTERM to SIGKILL: what the gateway takes to drain, and 15. */}}
{{- define "entroute.gracePeriod" -}}
{{- $drain := dig "server" "drain_s" 300 (.Values.config | default dict) -}}
{{- add (int .Values.gateway.drain.delaySeconds) (int (ceil $drain)) 15 -}}
{{- end -}}
