// Package ipc is the wire between tvsctl and tvsctld: HTTP/1.1 with JSON bodies
// over a Unix domain socket, resources under /v1/.
//
//	GET  /v1                                   Route: this list, and who may use what
//	GET  /v1/version
//	GET  /v1/whoami                            Whoami
//	GET  /v1/can-i[?verb=VERB&project=NAME&service=NAME&unit=NAME&image=REF&replicas=N]  Verdict
//	GET  /v1/projects
//	GET  /v1/projects/{project}                status of one project
//	GET  /v1/projects/{project}/services/{service}/inspect[?number=N]  list of Inspection
//	POST /v1/projects/{project}/scale          ScaleRequest
//	POST /v1/projects/{project}/adjust         AdjustRequest
//	POST /v1/projects/{project}/reset          ResetRequest
//	POST /v1/projects/{project}/start          StartRequest
//	POST /v1/projects/{project}/stop           StopRequest
//	POST /v1/projects/{project}/rollout        RolloutRequest
//	POST /v1/projects/{project}/rollout/continue  ContinueRequest
//	POST /v1/projects/{project}/rollback       RollbackRequest
//	POST /v1/projects/{project}/restart        RestartRequest
//	POST /v1/projects/{project}/limit          LimitRequest
//	POST /v1/projects/{project}/exec           ExecRequest, upgraded to frames
//	POST /v1/projects/{project}/up             UpRequest
//	POST /v1/projects/{project}/down           DownRequest
//	PUT  /v1/projects/{project}/declaration    Declaration
//	GET  /v1/projects/{project}/override
//	GET  /v1/projects/{project}/nginx
//	POST /v1/projects/{project}/nginx/test
//	POST /v1/projects/{project}/nginx/reload
//	GET  /v1/projects/{project}/logs[?service=SERVICE[.N]&unit=&follow=&tail=&since=&until=]  newline-delimited LogLine
//	GET  /v1/units[?pattern=GLOB]...           those in memory
//	GET  /v1/units/{unit}[?lines=N]            status, with the last lines of its journal
//	GET  /v1/units/{unit}/files                the unit file and its drop-ins
//	GET  /v1/units/{unit}/dependencies[?reverse=true][&all=true]
//	GET  /v1/units/{unit}/logs[?unit=&follow=&tail=&since=&until=]  newline-delimited LogLine
//	GET  /v1/units/{unit}/wait[?for=STATE]     answers when it is in the state
//	POST /v1/units/{unit}/start                UnitRequest, as the following
//	POST /v1/units/{unit}/stop
//	POST /v1/units/{unit}/restart
//	POST /v1/units/{unit}/reload
//	POST /v1/units/{unit}/isolate              with dry_run answers UnitIsolation
//	POST /v1/units/{unit}/reset-failed
//	POST /v1/units/{unit}/enable
//	POST /v1/units/{unit}/disable
//	POST /v1/units/{unit}/mask
//	POST /v1/units/{unit}/unmask
//	GET  /v1/operations[?project=NAME]
//	GET  /v1/operations/{id}
//	GET  /v1/operations/{id}/events            newline-delimited Event
//	POST /v1/operations/{id}/cancel
//	GET  /v1/doctor                            list of Finding, as the daemon sees the host
//	GET  /v1/audit[?since=&user=&limit=]       list of AuditEntry, oldest first
//	GET  /v1/events[?project=NAME]             newline-delimited HostEvent, from now on
//
// Lists and streams hold what the policy lets the caller see.
//
// {unit} is a unit's name, completed as systemctl does: nginx is nginx.service.
//
// {project} may be "-", which means the only project of the host. While Docker does not
// answer, a change of it needs the name, unless the host has no Docker or it was stopped.
//
// exec answers 101 to a request with "Connection: Upgrade" and "Upgrade: tvs-exec", and the
// connection then carries frames: a byte that says what it is, four bytes of length, the
// highest first, at most 65536, and so many bytes. 0 is standard input (an empty one
// ends it), 1 output, 2 error, 3 a Size for the terminal, 4 the ExecResult, the last.
// A client that goes away ends the command.
//
// A request that changes something answers 202 with an Operation, or 200 with a
// Plan when dry_run is set. The operation goes on when the client goes away. Every
// refusal is an Error with a Code from the table in errors.go.
package ipc
