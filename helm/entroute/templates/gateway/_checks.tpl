{{/* What a schema cannot say. Every refusal begins with the path of the value. */}}
{{- define "entroute.checks" -}}
{{- include "entroute.checkTiers" . -}}
{{- include "entroute.checkAuth" . -}}
{{- include "entroute.checkRedis" . -}}
{{- include "entroute.checkSandbox" . -}}
{{- include "entroute.checkNetworking" . -}}
{{- with .Values.gateway.autoscaling -}}
{{- if and (ne .kind "none") (lt (int .maxReplicas) (int .minReplicas)) -}}
{{- fail (printf "gateway.autoscaling.maxReplicas: is %d and minReplicas is %d; say how many gateways there may be" (int .maxReplicas) (int .minReplicas)) -}}
{{- end -}}
{{- end -}}
{{- end -}}

{{- define "entroute.checkTiers" -}}
{{- if not .Values.tiers -}}
{{- fail "tiers: give at least one, such as --set tiers.small.rank=1 with settings.model and vllm or external.urls; the folder profiles has examples" -}}
{{- end -}}
{{- $taken := dict -}}
{{- range $key := list "tiers" "embeddings" -}}
  {{- range $name, $tier := index $.Values $key -}}
    {{- $path := printf "%s.%s" $key $name -}}
    {{- range $id := list $name $tier.settings.model | uniq -}}
      {{- if eq $id "auto" -}}
        {{- fail (printf "%s: 'auto' is the name under which the policy decides; choose another" $path) -}}
      {{- end -}}
      {{- if hasKey $taken $id -}}
        {{- fail (printf "%s: %s is also the name or model of %s; clients could not tell them apart" $path $id (index $taken $id)) -}}
      {{- end -}}
      {{- $_ := set $taken $id $path -}}
    {{- end -}}
    {{- with $tier.external -}}
      {{- if eq (empty .urls) (empty .discover) -}}
        {{- fail (printf "%s.external: give either urls or discover" $path) -}}
      {{- end -}}
    {{- end -}}
  {{- end -}}
{{- end -}}
{{- $policy := dig "policy" dict .Values.config -}}
{{- if and (eq (dig "kind" "threshold" $policy) "static") $policy.tier -}}
{{- if not (hasKey .Values.tiers $policy.tier) -}}
{{- fail (printf "config.policy.tier: no tier is named %s; tiers are %s" $policy.tier (keys .Values.tiers | sortAlpha | join ", ")) -}}
{{- end -}}
{{- end -}}
{{- end -}}

{{- define "entroute.checkAuth" -}}
{{- $ways := list -}}
{{- if .Values.auth.existingSecret -}}{{- $ways = append $ways "existingSecret" -}}{{- end -}}
{{- if .Values.auth.inRedis -}}{{- $ways = append $ways "inRedis" -}}{{- end -}}
{{- if .Values.auth.allowUnauthenticated -}}{{- $ways = append $ways "allowUnauthenticated" -}}{{- end -}}
{{- if ne (len $ways) 1 -}}
{{- fail (printf "auth: say exactly one of existingSecret (a Secret with the file of API keys), inRedis and allowUnauthenticated; given: %s" (join ", " $ways | default "none")) -}}
{{- end -}}
{{- if and .Values.auth.allowUnauthenticated (or .Values.auth.cacheSalt.existingSecret (dig "auth" dict .Values.config)) -}}
{{- fail "auth.allowUnauthenticated: without API keys there are no tenants; leave out auth.cacheSalt and config.auth" -}}
{{- end -}}
{{- end -}}

{{- define "entroute.checkRedis" -}}
{{- $redis := .Values.redis -}}
{{- if and (eq $redis.kind "external") (not $redis.external.existingSecret) -}}
{{- fail "redis.external.existingSecret: name the Secret that holds the URL of the Redis" -}}
{{- end -}}
{{- if and (eq $redis.kind "bundled") (not $redis.bundled.password.existingSecret) -}}
{{- fail "redis.bundled.password.existingSecret: name the Secret that holds its password; the chart makes none" -}}
{{- end -}}
{{- if and .Values.auth.inRedis (eq $redis.kind "bundled") (not $redis.bundled.persistence.enabled) -}}
{{- fail "auth.inRedis: the API keys would be gone with the pod of Redis; set redis.bundled.persistence.enabled" -}}
{{- end -}}
{{- if eq $redis.kind "none" -}}
{{- range $part := list "cache" "feedback" -}}
{{- if eq (dig $part "kind" "" $.Values.config) "redis" -}}
{{- fail (printf "config.%s.kind: redis needs one; set redis.kind to bundled or external" $part) -}}
{{- end -}}
{{- end -}}
{{- if dig "redis" dict .Values.config -}}
{{- fail "config.redis: there is no Redis; set redis.kind to bundled or external" -}}
{{- end -}}
{{- if .Values.auth.inRedis -}}
{{- fail "auth.inRedis: needs a Redis; set redis.kind to bundled or external" -}}
{{- end -}}
{{- end -}}
{{- end -}}

{{- define "entroute.checkSandbox" -}}
{{- $client := dig "sandbox" dict .Values.config -}}
{{- if .Values.sandbox.enabled -}}
{{- if not .Values.sandbox.key.existingSecret -}}
{{- fail "sandbox.key.existingSecret: name the Secret that holds the key between gateway and executor; the chart makes none" -}}
{{- end -}}
{{- if $client.url -}}
{{- fail "config.sandbox.url: the chart's own executor is enabled; leave out the address, or set sandbox.enabled to false" -}}
{{- end -}}
{{- else if and $client (not $client.url) -}}
{{- fail "config.sandbox.url: give the address of the executor, or set sandbox.enabled to true" -}}
{{- end -}}
{{- if not (or .Values.sandbox.enabled $client.url) -}}
{{- $policy := dig "policy" dict .Values.config -}}
{{- range $field := list "strategy" "middle" "checkable" -}}
{{- $strategy := index $policy $field | default "" -}}
{{- if has $strategy ($.Files.Get "files/facts.yaml" | fromYaml).runPrograms -}}
{{- fail (printf "config.policy.%s: %s runs programs; set sandbox.enabled to true" $field $strategy) -}}
{{- end -}}
{{- end -}}
{{- end -}}
{{- end -}}

{{- define "entroute.checkNetworking" -}}
{{- if and .Values.ingress.enabled (not .Values.ingress.hosts) -}}
{{- fail "ingress.hosts: give at least one, or set ingress.enabled to false" -}}
{{- end -}}
{{- if and .Values.httpRoute.enabled (not .Values.httpRoute.parentRefs) -}}
{{- fail "httpRoute.parentRefs: name the Gateway that takes the route" -}}
{{- end -}}
{{- if and .Values.inferencePool.enabled (not .Values.inferencePool.endpointPicker.name) -}}
{{- fail "inferencePool.endpointPicker.name: name the Service of the endpoint picker" -}}
{{- end -}}
{{- range .Values.inferencePool.tiers -}}
{{- if not (dig . "vllm" dict $.Values.tiers) -}}
{{- fail (printf "inferencePool.tiers: %s is no tier with vllm; a pool is of this chart's own pods" .) -}}
{{- end -}}
{{- end -}}
{{- if and .Values.networkPolicy.enabled (not .Values.networkPolicy.gatewayEgress) -}}
{{- $away := list -}}
{{- range $key := list "tiers" "embeddings" -}}
{{- range $name, $tier := index $.Values $key -}}
{{- if $tier.external -}}{{- $away = append $away (printf "%s.%s.external" $key $name) -}}{{- end -}}
{{- end -}}
{{- end -}}
{{- if eq .Values.redis.kind "external" -}}{{- $away = append $away "redis.external" -}}{{- end -}}
{{- if dig "rewards" list .Values.config -}}{{- $away = append $away "config.rewards" -}}{{- end -}}
{{- if dig "sandbox" "url" "" .Values.config -}}{{- $away = append $away "config.sandbox" -}}{{- end -}}
{{- if dig "tracing" dict .Values.config -}}{{- $away = append $away "config.tracing" -}}{{- end -}}
{{- if $away -}}
{{- fail (printf "networkPolicy.gatewayEgress: %s could not be reached; say where they are, as {to, ports}" (join ", " $away)) -}}
{{- end -}}
{{- end -}}
{{- end -}}
