package access

import "github.com/rackreach/rackreach/messages/messagesconnect"

// Depot is what agents fetch blobs from, in the words of the policy: plain HTTP and no
// procedure.
const Depot = "/depot/"

// need is what a procedure asks of its caller.
type need struct {
	role    Role // of people and programs
	agent   bool // only an agent, by its certificate
	open    bool // anybody: it checks for itself
	changes bool // it is written down
	streams bool // it goes on for as long as both like
}

var (
	looks   = need{role: Viewer}
	follows = need{role: Viewer, streams: true}
	orders  = need{role: Operator, changes: true}
	governs = need{role: Admin, changes: true}
)

// policy is what each procedure needs. One that does not stand here is refused.
var policy = map[string]need{
	messagesconnect.RackServiceListRacksProcedure:      looks,
	messagesconnect.RackServiceGetRackProcedure:        looks,
	messagesconnect.RackServiceGetPlanProcedure:        looks,
	messagesconnect.RackServiceWatchEventsProcedure:    follows,
	messagesconnect.RackServiceHaltRackProcedure:       orders,
	messagesconnect.RackServiceResumeRackProcedure:     orders,
	messagesconnect.RackServiceRetryDeviceProcedure:    orders,
	messagesconnect.RackServiceSkipDeviceProcedure:     orders,
	messagesconnect.RackServiceReimageDeviceProcedure:  orders,
	messagesconnect.RackServiceBindDeviceProcedure:     orders,
	messagesconnect.RackServiceReplaceDeviceProcedure:  orders,
	messagesconnect.RackServiceIdentifyDeviceProcedure: orders,

	messagesconnect.FleetServiceGetFleetProcedure:    looks,
	messagesconnect.FleetServiceWatchFleetProcedure:  follows,
	messagesconnect.FleetServicePutPlanProcedure:     orders,
	messagesconnect.FleetServiceApplyRackProcedure:   orders,
	messagesconnect.FleetServiceApplyFleetProcedure:  orders,
	messagesconnect.FleetServiceHaltFleetProcedure:   orders,
	messagesconnect.FleetServiceResumeFleetProcedure: orders,

	messagesconnect.AccessServiceCreateTokenProcedure:      governs,
	messagesconnect.AccessServiceListTokensProcedure:       {role: Admin},
	messagesconnect.AccessServiceRevokeTokenProcedure:      governs,
	messagesconnect.AccessServiceCreateEnrollmentProcedure: governs,
	messagesconnect.AccessServiceRevokeAgentProcedure:      governs,
	messagesconnect.AccessServiceListAuditProcedure:        {role: Admin},

	// An agent connects often, and its orders and events are in the log.
	messagesconnect.BusServiceConnectProcedure: {agent: true, streams: true},
	messagesconnect.BusServiceAdoptProcedure:   {agent: true, changes: true, streams: true},

	// A token of its own kind is in the request; who makes certificates tells the
	// trail of those that were given.
	messagesconnect.EnrollmentServiceEnrollProcedure: {open: true},
	messagesconnect.EnrollmentServiceRenewProcedure:  {agent: true},

	// What agents fetch is public to each of them; it is read often and changes nothing.
	Depot: {agent: true, streams: true},

	// Reflection tells what stands in proto/.
	"/grpc.reflection.v1.ServerReflection/ServerReflectionInfo":      follows,
	"/grpc.reflection.v1alpha.ServerReflection/ServerReflectionInfo": follows,
}
