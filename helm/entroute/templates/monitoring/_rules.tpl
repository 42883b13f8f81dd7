{{/* What is promised, by the name of its series: {record: {expr, labels}} as YAML. */}}
{{- define "entroute.objectives" -}}
{{- with .Values.monitoring.rules.objectives -}}
entroute:objective:availability: {expr: {{ printf "vector(%v)" .availability | quote }}}
entroute:objective:ttft: {expr: {{ printf "vector(%v)" .ttft | quote }}}
entroute:objective:ttft_threshold: {expr: vector(1), labels: {le: {{ .ttftThresholdSeconds | quote }}}}
entroute:objective:least_failures: {expr: {{ printf "vector(%v)" .leastFailures | quote }}}
entroute:objective:spend_usd_per_hour: {expr: {{ printf "vector(%v)" .spendUsdPerHour | quote }}}
{{- end -}}
{{- end -}}

{{/* The groups of all rule files, objectives as values say them: {groups: [...]} as YAML. */}}
{{- define "entroute.ruleGroups" -}}
{{- $values := .Values.monitoring.rules -}}
{{- $objectives := include "entroute.objectives" . | fromYaml -}}
{{- $groups := list -}}
{{- range $path, $_ := .Files.Glob "files/rules/*.yaml" -}}
{{- range $group := ($.Files.Get $path | fromYaml).groups -}}
{{- range $rule := $group.rules -}}
{{- if $rule.record -}}
{{- $_ := mergeOverwrite $rule (index $objectives $rule.record | default dict) -}}
{{- else -}}
{{- with $values.alertLabels -}}
{{- $_ := set $rule "labels" (mergeOverwrite (deepCopy .) ($rule.labels | default dict)) -}}
{{- end -}}
{{- with $values.runbookBaseUrl -}}
{{- $_ := set $rule.annotations "runbook_url" (printf "%s%s" . $rule.annotations.runbook) -}}
{{- end -}}
{{- end -}}
{{- end -}}
{{- $groups = append $groups $group -}}
{{- end -}}
{{- end -}}
{{- dict "groups" $groups | toYaml -}}
{{- end -}}
