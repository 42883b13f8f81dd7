{{/* Selector of all pods of vLLM of this release. */}}
{{- define "entroute.workerSelector" -}}
matchLabels:
  app.kubernetes.io/name: entroute
  app.kubernetes.io/instance: {{ .Release.Name | quote }}
matchExpressions:
  - {key: app.kubernetes.io/component, operator: In, values: [tier, embedding]}
{{- end -}}

{{/* Egress rules towards those who resolve names: none where nobody is named. */}}
{{- define "entroute.dnsEgress" -}}
{{- with .Values.networkPolicy.dns -}}
- to: {{- toYaml . | nindent 4 }}
  ports: [{port: 53, protocol: UDP}, {port: 53, protocol: TCP}]
{{- end -}}
{{- end -}}
