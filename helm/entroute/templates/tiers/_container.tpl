{{/* The containers of a worker; all take (dict "root" $ "tier" ITEM). */}}

{{/* The official image runs as root unless told otherwise and ships user 2000. Older releases of
PyTorch stop where a user has no name, so one is given whoever it is; caches lie below HOME. */}}
{{- define "entroute.worker.env" -}}
- name: HOME
  value: /home/vllm
- name: USER
  value: vllm
- name: LOGNAME
  value: vllm
- name: HF_HOME
  value: /models
- name: HF_HUB_DISABLE_TELEMETRY
  value: "1"
- name: VLLM_NO_USAGE_STATS
  value: "1"
{{- with .tier.vllm.huggingFaceToken }}
{{- if .existingSecret }}
- name: HF_TOKEN
  valueFrom:
    secretKeyRef:
      name: {{ .existingSecret }}
      key: {{ .key }}
{{- end }}
{{- end }}
{{- end -}}

{{- define "entroute.worker.mounts" -}}
- name: models
  mountPath: /models
- name: home
  mountPath: /home/vllm
- name: tmp
  mountPath: /tmp
{{- end -}}

{{- define "entroute.worker.args" -}}
{{- $vllm := .tier.vllm -}}
- {{ $vllm.model | quote }}
- {{ printf "--served-model-name=%s" .tier.settings.model | quote }}
- --port=8000
{{- with $vllm.revision }}
- {{ printf "--revision=%s" . | quote }}
{{- end }}
{{- with $vllm.quantization }}
- {{ printf "--quantization=%s" . | quote }}
{{- end }}
{{- with $vllm.maxModelLen }}
- --max-model-len={{ int . }}
{{- end }}
{{- if gt (int $vllm.gpu.count) 0 }}
- --gpu-memory-utilization={{ $vllm.gpuMemoryUtilization }}
{{- end }}
- --tensor-parallel-size={{ include "entroute.worker.tensorParallelSize" . }}
{{- if eq .tier.kind "embedding" }}
- --runner=pooling
{{- else }}
- {{ ternary "--enable-prefix-caching" "--no-enable-prefix-caching" $vllm.prefixCaching }}
# Without these two, cached tokens are not told, and a stream that nobody asked for usage has none.
- --enable-prompt-tokens-details
- --enable-force-include-usage
{{- end }}
- --shutdown-timeout={{ int $vllm.drain.timeoutSeconds }}
- --disable-access-log-for-endpoints=/health,/metrics,/v1/models
{{- range $vllm.extraArgs }}
- {{ . | quote }}
{{- end }}
{{- end -}}

{{/* Fetches the model before the server starts, so that its startup probe counts loading only */}}
{{- define "entroute.worker.download" -}}
name: download
image: {{ include "entroute.worker.image" . | quote }}
imagePullPolicy: {{ .tier.vllm.image.pullPolicy }}
command: [python3, -c]
args:
  - {{ .root.Files.Get "files/models/download.py" | quote }}
  - {{ .tier.vllm.model | quote }}
  - {{ .tier.vllm.revision | default "main" | quote }}
  {{- range .tier.vllm.modelCache.exclude }}
  - {{ . | quote }}
  {{- end }}
workingDir: /home/vllm
env:
  {{- include "entroute.worker.env" . | nindent 2 }}
  {{- with .tier.vllm.extraEnv }}
  {{- toYaml . | nindent 2 }}
  {{- end }}
resources: {{- toYaml .tier.vllm.modelCache.resources | nindent 2 }}
securityContext: {{- include "entroute.containerSecurityContext" . | nindent 2 }}
volumeMounts: {{- include "entroute.worker.mounts" . | nindent 2 }}
{{- end -}}

{{- define "entroute.worker.resources" -}}
{{- $resources := deepCopy .tier.vllm.resources -}}
{{- with .tier.vllm.gpu -}}
{{- if gt (int .count) 0 -}}
{{- $_ := set $resources "limits" (set ($resources.limits | default dict) .resource (int .count)) -}}
{{- end -}}
{{- end -}}
{{- toYaml $resources -}}
{{- end -}}

{{- define "entroute.worker.probe" -}}
httpGet: {path: /health, port: http}
{{ toYaml . }}
{{- end -}}

{{- define "entroute.worker.server" -}}
{{- $vllm := .tier.vllm -}}
name: vllm
image: {{ include "entroute.worker.image" . | quote }}
imagePullPolicy: {{ $vllm.image.pullPolicy }}
command: [vllm, serve]
args: {{- include "entroute.worker.args" . | nindent 2 }}
workingDir: /home/vllm
env:
  {{- include "entroute.worker.env" . | nindent 2 }}
  {{- if $vllm.offline }}
  - name: HF_HUB_OFFLINE
    value: "1"
  {{- end }}
  {{- if $vllm.apiKey.existingSecret }}
  - name: VLLM_API_KEY
    valueFrom:
      secretKeyRef:
        name: {{ $vllm.apiKey.existingSecret }}
        key: {{ $vllm.apiKey.key }}
  {{- end }}
  {{- with $vllm.extraEnv }}
  {{- toYaml . | nindent 2 }}
  {{- end }}
ports:
  - {name: http, containerPort: 8000}
startupProbe: {{- include "entroute.worker.probe" $vllm.startupProbe | nindent 2 }}
livenessProbe: {{- include "entroute.worker.probe" $vllm.livenessProbe | nindent 2 }}
readinessProbe: {{- include "entroute.worker.probe" $vllm.readinessProbe | nindent 2 }}
lifecycle:
  preStop:
    exec:
      command: [sleep, {{ int $vllm.drain.delaySeconds | quote }}]
resources: {{- include "entroute.worker.resources" . | nindent 2 }}
securityContext: {{- include "entroute.containerSecurityContext" . | nindent 2 }}
volumeMounts:
  {{- include "entroute.worker.mounts" . | nindent 2 }}
  {{- if include "entroute.worker.shm" . }}
  - name: shm
    mountPath: /dev/shm
  {{- end }}
{{- end -}}
