{{/*
What the templates of a tier's workers share. All take (dict "root" $ "tier" ITEM), an item of
entroute.ownTiers.
*/}}

{{/* Seconds between the signal to stop and the end: noticed, drained, and some to leave */}}
{{- define "entroute.worker.graceSeconds" -}}
{{- add (int .tier.vllm.drain.delaySeconds) (int .tier.vllm.drain.timeoutSeconds) 15 -}}
{{- end -}}

{{- define "entroute.worker.image" -}}
{{- include "entroute.image" (dict "image" .tier.vllm.image "tag" .tier.vllm.image.tag) -}}
{{- end -}}

{{/* How many GPUs share the model: what is said, else all that a replica has */}}
{{- define "entroute.worker.tensorParallelSize" -}}
{{- .tier.vllm.tensorParallelSize | int | default (max 1 (int .tier.vllm.gpu.count)) -}}
{{- end -}}

{{/* Processes of one replica talk through shared memory, of which a container has 64 MiB */}}
{{- define "entroute.worker.shm" -}}
{{- if .tier.vllm.shmSize -}}
{{- .tier.vllm.shmSize -}}
{{- else if gt (include "entroute.worker.tensorParallelSize" . | int) 1 -}}
8Gi
{{- end -}}
{{- end -}}

{{/* Whether an init container fetches the model: "true", or "" */}}
{{- define "entroute.worker.downloads" -}}
{{- if and .tier.vllm.modelCache.download (not (hasPrefix "/" .tier.vllm.model)) -}}true{{- end -}}
{{- end -}}

{{/* Whether a pod asks the hub for anything: "true", or "" */}}
{{- define "entroute.worker.reachesHub" -}}
{{- if or (include "entroute.worker.downloads" .) (not .tier.vllm.offline) -}}true{{- end -}}
{{- end -}}

{{/* Name of the claim that the chart makes for the models */}}
{{- define "entroute.worker.claim" -}}
{{- printf "%s-models" .tier.object -}}
{{- end -}}

{{- define "entroute.worker.claimSpec" -}}
{{- $cache := .tier.vllm.modelCache -}}
accessModes: {{ $cache.accessModes | toJson }}
{{- with $cache.storageClassName }}
storageClassName: {{ . | quote }}
{{- end }}
resources:
  requests:
    storage: {{ $cache.size }}
{{- end -}}

{{/* What cannot work is said before it is tried */}}
{{- define "entroute.worker.check" -}}
{{- $vllm := .tier.vllm -}}
{{- $cache := $vllm.modelCache -}}
{{- $scaled := ne $vllm.autoscaling.kind "none" -}}
{{- $place := printf "%s.%s.vllm" (ternary "tiers" "embeddings" (eq .tier.kind "tier")) .tier.name -}}
{{- if and (eq $cache.kind "pvc") (or $scaled (gt (int $vllm.replicas) 1)) (not (has "ReadWriteMany" $cache.accessModes)) -}}
{{- fail (printf "%s.modelCache.accessModes: several replicas share this volume, and %s serves one node; say [ReadWriteMany], or kind: ephemeral for a volume each" $place (join ", " $cache.accessModes)) -}}
{{- end -}}
{{- range $kind := list "existingClaim" "hostPath" -}}
{{- if and (eq $cache.kind $kind) (not (index $cache $kind)) -}}
{{- fail (printf "%s.modelCache.%s: say where the models are" $place $kind) -}}
{{- end -}}
{{- end -}}
{{- if and $scaled (gt (int $vllm.autoscaling.minReplicas) (int $vllm.autoscaling.maxReplicas)) -}}
{{- fail (printf "%s.autoscaling.maxReplicas: %d is below minReplicas, %d" $place (int $vllm.autoscaling.maxReplicas) (int $vllm.autoscaling.minReplicas)) -}}
{{- end -}}
{{- $promised := int .tier.settings.context_length -}}
{{- if and $promised $vllm.maxModelLen (gt $promised (int $vllm.maxModelLen)) -}}
{{- fail (printf "%s.maxModelLen: vLLM would hold %d tokens where settings.context_length promises %d" $place (int $vllm.maxModelLen) $promised) -}}
{{- end -}}
{{- if and (gt (int $vllm.gpu.count) 0) (gt (int $vllm.tensorParallelSize) (int $vllm.gpu.count)) -}}
{{- fail (printf "%s.tensorParallelSize: %d GPUs are to share the model and a replica has %d; raise gpu.count" $place (int $vllm.tensorParallelSize) (int $vllm.gpu.count)) -}}
{{- end -}}
{{- end -}}
