{{/* The pod of a worker; all take (dict "root" $ "tier" ITEM). */}}

{{- define "entroute.worker.models" -}}
{{- $cache := .tier.vllm.modelCache -}}
name: models
{{- if eq $cache.kind "emptyDir" }}
emptyDir:
  sizeLimit: {{ $cache.size }}
{{- else if eq $cache.kind "hostPath" }}
hostPath:
  path: {{ $cache.hostPath | quote }}
  type: Directory
{{- else if eq $cache.kind "ephemeral" }}
ephemeral:
  volumeClaimTemplate:
    metadata:
      labels: {{- include "entroute.tierSelectorLabels" . | nindent 8 }}
    spec: {{- include "entroute.worker.claimSpec" . | nindent 6 }}
{{- else }}
persistentVolumeClaim:
  claimName: {{ $cache.existingClaim | default (include "entroute.worker.claim" .) }}
{{- end }}
{{- end -}}

{{- define "entroute.worker.pod" -}}
{{- $vllm := .tier.vllm -}}
# Service links, which this turns off, would set VLLM_PORT where a Service is called vllm.
{{ include "entroute.podDefaults" .root }}
automountServiceAccountToken: false
terminationGracePeriodSeconds: {{ include "entroute.worker.graceSeconds" . }}
securityContext:
  runAsNonRoot: true
  seccompProfile: {type: RuntimeDefault}
  {{- toYaml $vllm.podSecurityContext | nindent 2 }}
{{- with $vllm.runtimeClassName }}
runtimeClassName: {{ . }}
{{- end }}
{{- include "entroute.scheduling" (dict "pod" $vllm) }}
{{- with $vllm.topologySpreadConstraints }}
topologySpreadConstraints:
  {{- range . }}
  - labelSelector:
      matchLabels: {{- include "entroute.tierSelectorLabels" $ | nindent 8 }}
    {{- toYaml . | nindent 4 }}
  {{- end }}
{{- end }}
{{- if include "entroute.worker.downloads" . }}
initContainers:
  - {{- include "entroute.worker.download" . | nindent 4 }}
{{- end }}
containers:
  - {{- include "entroute.worker.server" . | nindent 4 }}
volumes:
  - {{- include "entroute.worker.models" . | nindent 4 }}
  - name: home
    emptyDir:
      sizeLimit: {{ $vllm.homeSize }}
  - name: tmp
    emptyDir:
      sizeLimit: 2Gi
  {{- with include "entroute.worker.shm" . }}
  - name: shm
    emptyDir:
      medium: Memory
      sizeLimit: {{ . }}
  {{- end }}
{{- end -}}
