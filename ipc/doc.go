// Package ipc is the wire between tvsctl and tvsctld: HTTP/1.1 with JSON bodies
// over a Unix domain socket, resources under /v1/.
//
//	GET  /v1/version
//	GET  /v1/projects
//	GET  /v1/projects/{project}                status of one project
//	POST /v1/projects/{project}/scale          ScaleRequest
//	POST /v1/projects/{project}/adjust         AdjustRequest
//	POST /v1/projects/{project}/reset          ResetRequest
//	POST /v1/projects/{project}/start          StartRequest
//	POST /v1/projects/{project}/stop           StopRequest
//	POST /v1/projects/{project}/rollout        RolloutRequest
//	POST /v1/projects/{project}/rollout/continue  ContinueRequest
//	POST /v1/projects/{project}/rollback       RollbackRequest
//	POST /v1/projects/{project}/restart        RestartRequest
//	POST /v1/projects/{project}/up             UpRequest
//	POST /v1/projects/{project}/down           DownRequest
//	PUT  /v1/projects/{project}/declaration    Declaration
//	GET  /v1/projects/{project}/override
//	GET  /v1/projects/{project}/nginx
//	POST /v1/projects/{project}/nginx/test
//	POST /v1/projects/{project}/nginx/reload
//	GET  /v1/projects/{project}/logs[?service=SERVICE[.N]&unit=&follow=&tail=&since=&until=]  newline-delimited LogLine
//	GET  /v1/units/{unit}/logs[?unit=&follow=&tail=&since=&until=]  newline-delimited LogLine
//	GET  /v1/operations[?project=NAME]
//	GET  /v1/operations/{id}
//	GET  /v1/operations/{id}/events            newline-delimited Event
//	POST /v1/operations/{id}/cancel
//	GET  /v1/doctor                            list of Finding, as the daemon sees the host
//	GET  /v1/audit[?since=&user=&limit=]       list of AuditEntry, oldest first
//	GET  /v1/events[?project=NAME]             newline-delimited HostEvent, from now on
//
// {project} may be "-", which means the only project of the host.
//
// A request that changes something answers 202 with an Operation, or 200 with a
// Plan when dry_run is set. The operation goes on when the client goes away. Every
// refusal is an Error with a Code from the table in errors.go.
package ipc
