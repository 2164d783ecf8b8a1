"""The one route: whose token it is."""

from django.urls import path
from rest_framework.response import Response
from rest_framework.views import APIView


class Verify(APIView):
    def get(self, request):
        return Response({"user": request.user.get_username()})


urlpatterns = [path("verify", Verify.as_view())]
