// Package v1beta1 stands in for the API of frr-k8s, which MetalLB's programs name and use only in frr-k8s mode. MetalLB runs in native
// mode here, so this is what they need to be compiled, and no more: the kind is in no scheme.
package v1beta1

import (
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
)

// AddToScheme adds nothing.
func AddToScheme(*runtime.Scheme) error { return nil }

type FRRConfiguration struct {
	metav1.TypeMeta
	metav1.ObjectMeta
	Spec FRRConfigurationSpec
}

func (in *FRRConfiguration) DeepCopy() *FRRConfiguration {
	out := *in
	return &out
}

func (in *FRRConfiguration) DeepCopyObject() runtime.Object { return in.DeepCopy() }

type FRRConfigurationSpec struct {
	BGP          BGPConfig
	NodeSelector metav1.LabelSelector
}

func (in *FRRConfigurationSpec) DeepCopyInto(out *FRRConfigurationSpec) { *out = *in }

type BGPConfig struct {
	Routers     []Router
	BFDProfiles []BFDProfile
}

type Router struct {
	ASN       uint32
	ID, VRF   string
	Neighbors []Neighbor
	Prefixes  []string
}

type DynamicASNMode string

type Neighbor struct {
	Address, Interface, Password, BFDProfile                               string
	ASN                                                                    uint32
	DynamicASN                                                             DynamicASNMode
	Port                                                                   *uint16
	PasswordSecret                                                         SecretReference
	HoldTime, KeepaliveTime, ConnectTime                                   *metav1.Duration
	EBGPMultiHop, EnableGracefulRestart, DualStackAddressFamily, DisableMP bool
	ToAdvertise                                                            Advertise
}

type SecretReference struct{ Name, Namespace string }

type Advertise struct {
	Allowed                   AllowedOutPrefixes
	PrefixesWithLocalPref     []LocalPrefPrefixes
	PrefixesWithCommunity     []CommunityPrefixes
	PrefixesWithAsPathPrepend []AsPathPrependPrefixes
}

type AllowedOutPrefixes struct{ Prefixes []string }

type LocalPrefPrefixes struct {
	LocalPref uint32
	Prefixes  []string
}

type CommunityPrefixes struct {
	Community string
	Prefixes  []string
}

type AsPathPrependPrefixes struct {
	AsPathPrepend uint8
	Prefixes      []string
}

type BFDProfile struct {
	Name                                                                          string
	ReceiveInterval, TransmitInterval, DetectMultiplier, EchoInterval, MinimumTTL *uint32
	EchoMode, PassiveMode                                                         *bool
}
