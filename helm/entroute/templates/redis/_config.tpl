{{- define "entroute.redisConfig" -}}
port 6379
bind * -::*
maxmemory {{ .Values.redis.bundled.maxMemory }}
# Only what expires is dropped: API keys and limits stay.
maxmemory-policy volatile-lru
{{- if .Values.redis.bundled.persistence.enabled }}
appendonly yes
appendfsync everysec
{{- else }}
appendonly no
save ""
{{- end }}
{{- end -}}
