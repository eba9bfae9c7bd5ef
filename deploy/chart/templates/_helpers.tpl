{{- define "qr.name" -}}
{{- default .Release.Name .Values.nameOverride | trunc 50 | trimSuffix "-" -}}
{{- end -}}

{{- define "qr.selector" -}}
app.kubernetes.io/name: query-rewrite
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end -}}

{{- define "qr.labels" -}}
{{ include "qr.selector" . }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
helm.sh/chart: {{ .Chart.Name }}-{{ .Chart.Version }}
{{- end -}}

{{- /* repository@digest, or repository:tag; takes a dict with `image` and `tag`. */ -}}
{{- define "qr.image" -}}
{{- if .image.digest -}}
{{ .image.repository }}@{{ .image.digest }}
{{- else -}}
{{ .image.repository }}:{{ default .tag .image.tag }}
{{- end -}}
{{- end -}}

{{- define "qr.pod-security" -}}
runAsNonRoot: true
runAsUser: {{ . }}
runAsGroup: {{ . }}
fsGroup: {{ . }}
fsGroupChangePolicy: OnRootMismatch
seccompProfile: {type: RuntimeDefault}
{{- end -}}

{{- define "qr.container-security" -}}
allowPrivilegeEscalation: false
readOnlyRootFilesystem: true
capabilities: {drop: [ALL]}
{{- end -}}

{{- define "qr.shared-store" -}}
{{- if .Values.redis.existingSecret }}yes{{ end -}}
{{- end -}}

{{- define "qr.bundles-claim" -}}
{{- default (printf "%s-bundles" (include "qr.name" .)) .Values.bundles.existingClaim -}}
{{- end -}}

{{- define "qr.bundle" -}}
/bundles/{{ .Values.bundles.folder }}
{{- end -}}

{{- /* What a server needs to know of where state and callers are; the job needs the store alone. */ -}}
{{- define "qr.store-env" -}}
{{- if include "qr.shared-store" . }}
- {name: QUERY_REWRITE_STORE, value: redis}
- {name: QUERY_REWRITE_REDIS_CLUSTER, value: {{ .Values.redis.cluster | toString | quote }}}
- name: QUERY_REWRITE_REDIS_URL
  valueFrom: {secretKeyRef: {name: {{ .Values.redis.existingSecret }}, key: {{ .Values.redis.key }}}}
{{- end }}
{{- end -}}

{{- define "qr.probe" -}}
{{- if .Values.tls.existingSecret -}}
exec:
  command:
    - query-rewrite
    - health
    - --target=127.0.0.1:50051
    - --authority=/etc/query-rewrite/tls/ca.crt
    - --server-name={{ .Values.tls.serverName }}
    {{- if .Values.tls.clientAuthority }}
    - --cert=/etc/query-rewrite/tls/tls.crt
    - --key=/etc/query-rewrite/tls/tls.key
    {{- end }}
{{- else -}}
grpc: {port: 50051, service: rewrite.v1.RewriteService}
{{- end }}
timeoutSeconds: 5
{{- end -}}

{{- /* Ends with a remedy where values do not go together; what one value may be is in values.schema.json. */ -}}
{{- define "qr.check" -}}
{{- if not (include "qr.shared-store" .) -}}
{{- if or (gt (int .Values.replicas) 1) .Values.autoscaling.enabled -}}
{{- fail "redis.existingSecret: several servers share their state in a Redis; name a Secret that holds its address (key `url`), or set replicas: 1 and autoscaling.enabled: false for the embedded store" -}}
{{- end -}}
{{- if .Values.build.enabled -}}
{{- fail "build.enabled: the job leaves out users who were forgotten, and reads who they are from the Redis; set redis.existingSecret, or build.enabled: false and bring bundles yourself" -}}
{{- end -}}
{{- end -}}
{{- if and .Values.build.enabled (not .Values.build.logClaim) -}}
{{- fail "build.logClaim: name the claim of the volume that holds the interaction logs, or set build.enabled: false" -}}
{{- end -}}
{{- if .Values.tls.existingSecret -}}
{{- if not .Values.tls.serverName -}}
{{- fail "tls.serverName: the name in the server's certificate, by which the probes check it" -}}
{{- end -}}
{{- if .Values.proxy.enabled -}}
{{- fail "proxy.enabled: the proxy speaks plain text to the servers; with tls.existingSecret set it to false and balance in the client over the headless Service" -}}
{{- end -}}
{{- if and (not .Values.tokens.existingSecret) (not .Values.tls.clientAuthority) (not .Values.networkPolicy.enabled) (not .Values.allowInsecure) -}}
{{- fail "tokens.existingSecret: with TLS alone anybody may call; name tokens, or set tls.clientAuthority, networkPolicy.enabled or allowInsecure" -}}
{{- end -}}
{{- else if not (or .Values.networkPolicy.enabled .Values.allowInsecure) -}}
{{- fail "tls.existingSecret: without TLS and without networkPolicy.enabled everybody in the cluster can listen and call; set one of them, or allowInsecure: true where a mesh sees to that" -}}
{{- end -}}
{{- end -}}
