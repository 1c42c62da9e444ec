package classify

// Device is the class of a device: what it is, whatever it is doing.
type Device string

// The classes.
const (
	DeviceFirmware    Device = "firmware"       // a machine in its network boot firmware: a server, or a switch that boots like one
	DeviceSwitch      Device = "switch"         // a switch or router, in its installer or its operating system
	DeviceHost        Device = "host"           // a machine in an operating system
	DeviceBMC         Device = "bmc"            // a board controller
	DeviceDPU         Device = "dpu"            // a processor of its own on a network card
	DeviceConsole     Device = "console-server" // serial consoles by network
	DeviceFirewall    Device = "firewall"
	DeviceAccessPoint Device = "access-point"
)

// devices are the words of a rule's class.
var devices = [...]Device{DeviceFirmware, DeviceSwitch, DeviceHost, DeviceBMC, DeviceDPU, DeviceConsole, DeviceFirewall, DeviceAccessPoint}
