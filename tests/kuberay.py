"""The fields of a RayService that config/kuberay.yaml uses, after KubeRay's API reference (v1).

Small and strict: a field that is not listed is an error here, whether or not KubeRay knows it.
"""

from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator


class Part(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)


class Metadata(Part):
    name: str = Field(pattern=r"^[a-z0-9]([-a-z0-9]{0,45}[a-z0-9])?$")


class EnvVar(Part):
    name: str = Field(pattern=r"^[A-Za-z_][A-Za-z0-9_]*$")
    value: str  # Kubernetes refuses numbers here


class Port(Part):
    name: str = Field(pattern=r"^[a-z0-9-]{1,15}$")
    containerPort: int = Field(ge=1, le=65535)


class Amounts(Part):
    cpu: str = Field(pattern=r"^[0-9]+$")
    memory: str = Field(pattern=r"^[0-9]+Gi$")
    gpus: int = Field(0, alias="nvidia.com/gpu", ge=1)


class Resources(Part):
    limits: Amounts
    requests: Amounts

    @model_validator(mode="after")
    def _equal(self) -> "Resources":
        assert self.limits == self.requests, "Ray counts limits; Kubernetes places by requests"
        return self


class Mount(Part):
    name: str
    mountPath: str


class Container(Part):
    name: str
    image: str
    workingDir: str
    env: list[EnvVar]
    ports: list[Port] = []
    resources: Resources
    volumeMounts: list[Mount] = []


class EmptyDir(Part):
    medium: Literal["Memory"]
    sizeLimit: str = Field(pattern=r"^[0-9]+Gi$")


class Volume(Part):
    name: str
    emptyDir: EmptyDir


class PodSpec(Part):
    restartPolicy: Literal["Never"]
    nodeSelector: dict[str, str]
    containers: list[Container] = Field(min_length=1, max_length=1)
    volumes: list[Volume] = []

    @model_validator(mode="after")
    def _mounted(self) -> "PodSpec":
        mounted = {mount.name for one in self.containers for mount in one.volumeMounts}
        assert mounted == {volume.name for volume in self.volumes}
        return self


class Template(Part):
    spec: PodSpec


class Head(Part):
    rayStartParams: dict[str, str]
    template: Template


class Workers(Part):
    groupName: str = Field(pattern=r"^[a-z0-9]([-a-z0-9]*[a-z0-9])?$")
    replicas: int = Field(ge=0)
    minReplicas: int = Field(ge=0)
    maxReplicas: int = Field(ge=1)
    rayStartParams: dict[str, str]
    template: Template

    @model_validator(mode="after")
    def _ordered(self) -> "Workers":
        assert self.minReplicas <= self.replicas <= self.maxReplicas
        return self


class AutoscalerOptions(Part):
    version: Literal["v1", "v2"]
    idleTimeoutSeconds: int = Field(ge=0)


class AuthOptions(Part):
    mode: Literal["disabled", "token"]


class ClusterSpec(Part):
    rayVersion: str
    enableInTreeAutoscaling: bool
    autoscalerOptions: AutoscalerOptions
    authOptions: AuthOptions
    headGroupSpec: Head
    workerGroupSpecs: list[Workers] = Field(min_length=1)


class Upgrade(Part):
    type: Literal["NewCluster", "NewClusterWithIncrementalUpgrade", "None"]


class ServiceSpec(Part):
    upgradeStrategy: Upgrade
    serveConfigV2: str
    rayClusterConfig: ClusterSpec


class RayService(Part):
    apiVersion: Literal["ray.io/v1"]
    kind: Literal["RayService"]
    metadata: Metadata
    spec: ServiceSpec


def check(manifest: dict[str, Any]) -> RayService:
    """The manifest, typed; raises pydantic's `ValidationError`."""
    return RayService.model_validate(manifest)
